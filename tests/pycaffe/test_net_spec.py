from __future__ import annotations

import copy
from typing import Any

import pytest
from google.protobuf import text_format

from demitasse.errors import DemitasseError
from demitasse.pycaffe import Net
from demitasse.pycaffe.net_spec import Function, NetSpec, Top, assign_proto, param_name_dict, to_proto
from demitasse.pycaffe.net_spec import layers as L
from demitasse.pycaffe.net_spec import params as P
from demitasse.pycaffe.proto import caffe_pb2

XAVIER = {"type": "xavier"}


def body(data: Top, label: Top, keep: Any) -> Top:
    """A small net; ``keep(name, top)`` may give tops names."""
    conv = keep("conv1", L.Convolution(data, kernel_size=5, num_output=4, weight_filler=XAVIER))
    pool = keep("pool1", L.Pooling(conv, kernel_size=2, stride=2, pool=P.Pooling.AVE))
    ip = keep("ip1", L.InnerProduct(pool, num_output=10, weight_filler=XAVIER))
    relu = keep("relu1", L.ReLU(ip, in_place=True))
    return keep("loss", L.SoftmaxWithLoss(relu, label))


def inputs() -> tuple[Top, Top]:
    return L.DummyData(shape=[{"dim": [2, 1, 12, 12]}, {"dim": [2]}], ntop=2, transform_param={"scale": 0.5})


def spec() -> NetSpec:
    n = NetSpec()
    n.data, n.label = inputs()

    def keep(name: str, top: Top) -> Top:
        n[name] = top
        return top

    body(n.data, n.label, keep)
    return n


def test_named_tops() -> None:
    net = spec().to_proto()
    assert [layer.name for layer in net.layer] == ["data", "conv1", "pool1", "ip1", "relu1", "loss"]
    assert [list(layer.top) for layer in net.layer] == [
        ["data", "label"],
        ["conv1"],
        ["pool1"],
        ["ip1"],
        ["ip1"],
        ["loss"],
    ]
    assert list(net.layer[4].bottom) == list(net.layer[4].top) == ["ip1"]
    assert list(net.layer[5].bottom) == ["ip1", "label"]
    assert net.layer[0].transform_param.scale == 0.5
    assert [list(shape.dim) for shape in net.layer[0].dummy_data_param.shape] == [[2, 1, 12, 12], [2]]
    assert net.layer[2].pooling_param.pool == caffe_pb2.PoolingParameter.AVE
    assert list(net.layer[1].convolution_param.kernel_size) == [5]


def test_made_up_names() -> None:
    loss = body(*inputs(), keep=lambda name, top: top)
    net = loss.to_proto()
    assert [layer.name for layer in net.layer] == [
        "DummyData1", "Convolution1", "Pooling1", "InnerProduct1", "ReLU1", "SoftmaxWithLoss1",
    ]  # fmt: skip
    assert list(net.layer[0].top) == ["DummyData1", "DummyData2"]
    assert list(net.layer[-1].bottom) == ["InnerProduct1", "DummyData2"]
    assert to_proto(loss, loss.fn.inputs[0]) == net


@pytest.mark.parametrize("named", [True, False])
def test_the_net_runs(tmp_path, named: bool) -> None:
    net = spec().to_proto() if named else body(*inputs(), keep=lambda name, top: top).to_proto()
    (tmp_path / "net.prototxt").write_text(str(net))
    built = Net(str(tmp_path / "net.prototxt"), caffe_pb2.TEST)
    assert len(built.layers) == 6
    assert list(built.forward()) == [net.layer[-1].top[0]]


def test_layers_without_tops() -> None:
    n = NetSpec()
    n.data, n.data2 = L.DummyData(shape={"dim": 3}, ntop=2)
    n.silence = L.Silence(n.data, ntop=0)
    assert isinstance(n.silence, Function)
    n.silence2 = L.Silence(n.data2, ntop=0)
    net = n.to_proto()
    assert [(layer.name, layer.type, list(layer.top)) for layer in net.layer[1:]] == [
        ("silence", "Silence", []),
        ("silence2", "Silence", []),
    ]
    assert n.silence.to_proto().layer[1].name == "Silence1"


def test_settings_of_layer_and_type() -> None:
    n = NetSpec()
    n.data = L.Input(input_param={"shape": {"dim": [1, 3]}})
    n.ip = L.InnerProduct(
        n.data, num_output=2, name="fc", param=[{"lr_mult": 1}, {"lr_mult": 2, "decay_mult": 0}], include={"phase": 1}
    )
    n.loss = L.EuclideanLoss(n.ip, n.data, loss_weight=0.5, propagate_down=[True, False])
    n.own = L.Python(n.ip, module="m", layer="Own", param_str="{}")
    net = n.to_proto()
    expected = text_format.Parse(
        """
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }
        layer { name: "fc" type: "InnerProduct" bottom: "data" top: "ip" param { lr_mult: 1 }
          param { lr_mult: 2 decay_mult: 0 } include { phase: TEST } inner_product_param { num_output: 2 } }
        layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "data" top: "loss" loss_weight: 0.5
          propagate_down: true propagate_down: false }
        layer { name: "own" type: "Python" bottom: "ip" top: "own"
          python_param { module: "m" layer: "Own" param_str: "{}" } }
        """,
        caffe_pb2.NetParameter(),
    )
    assert net == expected


def test_a_spec_can_be_changed() -> None:
    n = spec()
    assert n.keys() == ["data", "label", "conv1", "pool1", "ip1", "relu1", "loss"]
    assert n.vals()[2] is n.conv1 is n["conv1"]
    n.update("conv1", {"num_output": 7})
    assert n.to_proto().layer[1].convolution_param.num_output == 7
    del n.relu1
    del n["loss"]
    assert [layer.type for layer in n.to_proto().layer] == ["DummyData", "Convolution", "Pooling", "InnerProduct"]
    assert copy.deepcopy(n).to_proto() == n.to_proto()


def test_nets_deeper_than_recursion_may_be() -> None:
    top = L.Input(shape={"dim": [1, 2]})
    for _ in range(3000):
        top = L.Sigmoid(top)
    assert len(top.to_proto().layer) == 3001


def test_param_names() -> None:
    names = param_name_dict()
    assert names["Convolution"] == "convolution"
    assert names["ReLU"] == "relu"
    assert names["ReLU6"] == "relu6"
    assert names["Normalize"] == "norm"
    assert names["InnerProduct"] == "inner_product"
    assert names["DNSConvolution"] == "dns_convolution"
    assert P.Eltwise.MAX == 2
    assert P.Loss.VALID == 1


def test_inputs_are_tops() -> None:
    data = L.DummyData(ntop=2)
    with pytest.raises(TypeError, match=r"^Silence input 0 is not a Top \(type is <class 'tuple'>\)$") as error:
        L.Silence(data, ntop=0)
    assert isinstance(error.value, DemitasseError)
    L.Silence(*data, ntop=0)
    n = NetSpec()
    with pytest.raises(TypeError, match="'data' is a tuple; expected the top of a layer"):
        n.data = data


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        (
            {"kernal_size": 3},
            AttributeError,
            "layer 'Convolution1' .*no field 'kernal_size'; did you mean 'kernel_size'",
        ),
        ({"param": {"lr": 3}}, AttributeError, "ParamSpec has no field 'lr'"),
        ({"num_output": "ten"}, TypeError, "num_output cannot be set to 'ten'"),
        ({"param": [3]}, TypeError, "LayerParameter.param cannot be set to 3"),
        ({"weight_filler": 3}, TypeError, "weight_filler cannot be set to 3"),
        ({"kernel_size": [3, "x"]}, TypeError, "kernel_size cannot be set to 'x'"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match) as caught:
        L.Convolution(L.Input(), **settings).to_proto()
    assert isinstance(caught.value, DemitasseError)


def test_unknown_names() -> None:
    n = spec()
    with pytest.raises(KeyError, match="no top 'conv'; did you mean 'conv1'"):
        n["conv"]
    with pytest.raises(AttributeError, match="no top 'conv'"):
        _ = n.conv
    assert not hasattr(n, "conv")
    with pytest.raises(AttributeError, match="no value 'MIN'"):
        _ = P.Pooling.MIN
    with pytest.raises(AttributeError, match="no message PolingParameter; did you mean 'Pooling'"):
        _ = P.Poling
    with pytest.raises(AttributeError, match="no field 'nam'"):
        assign_proto(caffe_pb2.NetParameter(), "nam", "x")
