"""What is exported: deploy forms, plain layers, models from files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from demitasse import formats
from demitasse.caffe import schema
from demitasse.caffe.definition.filter import filter_net, net_state
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.upgrade import upgrade_net
from demitasse.caffe.weights import save_weights
from demitasse.errors import DataError, ExportError, UnknownNameError, UsageError, WeightsError
from demitasse.export import TARGETS, Model, of_files, of_net
from demitasse.export.check import OutputComparison, compare
from demitasse.graph.caffe.deploy import batch_axes, deploy
from tests.export.nets import LENET, SEQUENCE, build

TRAIN_VAL = """
name: "pair"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  data_param { source: "nowhere" batch_size: 7 } }
layer { name: "labels" type: "Slice" bottom: "label" top: "one" top: "two" slice_param { slice_point: 3 axis: 0 } }
layer { name: "conv" type: "DNSConvolution" bottom: "data" top: "conv"
  convolution_param { num_output: 3 kernel_size: 2 weight_filler { type: "gaussian" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "INQInnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 4 transpose: true weight_filler { type: "gaussian" } }
  inq_inner_product_param { portion: 0 portion: 0.5 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" }
layer { name: "quiet" type: "Silence" bottom: "one" bottom: "two" }
"""
SHAPES = {"data": (7, 1, 4, 4), "label": (7,)}


def layers(text: str) -> list[schema.Message]:
    net = prototxt.parse(text, schema.NetParameter(), "net")
    return [layer for layer, _ in filter_net(net, ["net"] * len(net.layer), net_state(net, schema.TEST))]


def fed(text: str = TRAIN_VAL) -> str:
    """The net with inputs for its data."""
    start = text.index("layer {")
    end = text.index("layer {", start + 1)
    shapes = "".join(f"shape {{ {' '.join(f'dim: {size}' for size in shape)} }} " for shape in SHAPES.values())
    inputs = f'layer {{ name: "data" type: "Input" top: "data" top: "label" input_param {{ {shapes} }} }}\n'
    return text[:start] + inputs + text[end:]


def test_deploy_form_drops_data_labels_and_measures():
    found = deploy(layers(TRAIN_VAL), shapes={"data": SHAPES["data"]})
    assert [(layer.name, layer.type) for layer in found.layer] == [
        ("data", "Input"), ("conv", "DNSConvolution"), ("relu", "ReLU"), ("ip", "INQInnerProduct"),
    ]  # fmt: skip
    assert list(found.layer[0].top) == ["data"]
    assert list(found.layer[0].input_param.shape[0].dim) == [7, 1, 4, 4]
    assert not found.layer[1].convolution_param.HasField("weight_filler")


def test_deploy_form_with_a_measure_that_is_asked_for():
    found = deploy(layers(TRAIN_VAL), shapes=SHAPES, outputs=["accuracy"])
    assert [layer.name for layer in found.layer] == ["data", "conv", "relu", "ip", "accuracy"]
    assert list(found.layer[0].top) == ["data", "label"]


@pytest.mark.leveldb
def test_deploy_form_without_the_data():
    with pytest.raises(DataError, match=r"layer 'data': nowhere: .*input_shapes=.data=N"):
        deploy(layers(TRAIN_VAL))


def test_deploy_form_of_losses_on_two_scores():
    text = """
    layer { name: "in" type: "Input" top: "a" top: "b" top: "same" }
    layer { name: "fa" type: "ReLU" bottom: "a" top: "fa" }
    layer { name: "fb" type: "ReLU" bottom: "b" top: "fb" }
    layer { name: "loss" type: "ContrastiveLoss" bottom: "fa" bottom: "fb" bottom: "same" top: "loss" }
    """
    found = deploy(layers(text), shapes={"a": (2, 3), "b": (2, 3)})
    assert list(found.layer[0].top) == ["a", "b"]
    assert [layer.name for layer in found.layer] == ["in", "fa", "fb"]


def test_nothing_but_measures_is_an_error():
    text = """
    layer { name: "in" type: "Input" top: "a" top: "b" }
    layer { name: "loss" type: "EuclideanLoss" bottom: "a" bottom: "b" top: "loss" }
    """
    with pytest.raises(ExportError, match="the net has no outputs"):
        deploy(layers(text))


@pytest.mark.parametrize(("shapes", "outputs", "message"), [
    ({"dta": (1,)}, (), "no input 'dta'; did you mean 'data'?"),
    ({}, ("cnv",), "no blob 'cnv'; did you mean 'conv'?"),
])  # fmt: skip
def test_unknown_names(shapes, outputs, message):
    with pytest.raises(UnknownNameError, match=message.replace("?", r"\?")):
        deploy(layers(TRAIN_VAL), shapes=shapes, outputs=outputs)


def test_compressed_layers_become_plain_with_what_they_compute():
    net = build(fed())
    dns = net.layer("conv")
    dns.weight_mask[0] = False
    dns.bias_mask[1] = False
    torch.nn.init.normal_(dns.bias)
    model = of_net(net)
    conv, _, ip = model.graph.steps
    assert [(step.name, step.kind) for step in (conv, ip)] == [("conv", "Convolution"), ("ip", "InnerProduct")]
    assert torch.equal(conv.weights["weight"], dns.weight * dns.weight_mask)
    assert torch.equal(conv.weights["bias"], dns.bias * dns.bias_mask)
    assert torch.equal(ip.weights["weight"], net.layer("ip").weight.t())
    data = torch.randn(7, 1, 4, 4)
    torch.testing.assert_close(
        model.reference({"data": data})["ip"], net({"data": data, "label": torch.zeros(7)}, keep=["ip"])["ip"]
    )


def test_a_net_in_training_takes_no_step():
    net = build(fed(), schema.TRAIN)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    of_net(net)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_shared_blob_of_two_orders():
    text = """
    input: "x" input_shape { dim: 2 dim: 4 }
    layer { name: "code" type: "InnerProduct" bottom: "x" top: "code" param { name: "w" }
      inner_product_param { num_output: 3 bias_term: false weight_filler { type: "gaussian" } } }
    layer { name: "back" type: "InnerProduct" bottom: "code" top: "back" param { name: "w" }
      inner_product_param { num_output: 4 bias_term: false transpose: true } }
    """
    net = build(text)
    x = torch.randn(2, 4)
    torch.testing.assert_close(of_net(net).reference({"x": x})["back"], net({"x": x})["back"])


def test_batch_axes_and_sizes():
    model = of_net(build(SEQUENCE))
    assert model.batch_axes == {"x": 1, "cont": 1}
    assert model.batch() == 2
    assert model.sized(7) == {"x": (4, 7, 5), "cont": (4, 7)}
    assert model.fixed(9).inputs == {"x": (4, 9, 5), "cont": (4, 9)}
    assert (model.dynamic, model.fixed().dynamic) == (True, False)


def test_batch_axes_of_what_goes_into_recurrent_layers():
    text = """
    input: "words" input_shape { dim: 3 dim: 2 } input: "cont" input_shape { dim: 3 dim: 2 }
    input: "image" input_shape { dim: 2 dim: 4 } input: "h" input_shape { dim: 1 dim: 2 dim: 5 }
    input: "c" input_shape { dim: 1 dim: 2 dim: 5 }
    layer { name: "embed" type: "Embed" bottom: "words" top: "embed" }
    layer { name: "drop" type: "Dropout" bottom: "embed" top: "embed" }
    layer { name: "one" type: "LSTM" bottom: "embed" bottom: "cont" bottom: "image" top: "one" }
    layer { name: "two" type: "LSTM" bottom: "one" bottom: "cont" bottom: "h" bottom: "c"
      top: "two" top: "hT" top: "cT" recurrent_param { expose_hidden: true } }
    """
    net = upgrade_net(prototxt.parse(text, schema.NetParameter(), "net"))
    assert batch_axes(net) == {"words": 1, "cont": 1, "image": 0, "h": 1, "c": 1}


def test_batches_of_different_sizes():
    text = LENET.replace('top: "data"', 'top: "data" top: "rois"').replace("dim: 28 } ", "dim: 28 } shape { dim: 3 } ")
    text += 'layer { name: "r" type: "ReLU" bottom: "rois" top: "r" }'
    with pytest.raises(UsageError, match="different sizes"):
        of_net(build(text)).batch()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Net]:
    definition, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    definition.write_text(TRAIN_VAL)
    net = build(fed())
    net.layer("conv").weight_mask[:, :, 0] = False
    save_weights(net, weights)
    return definition, weights, net


def outputs(model: Model) -> torch.Tensor:
    return model.reference({"data": torch.linspace(-1, 1, 48).reshape(3, 1, 4, 4)})["ip"]


def test_models_of_files_are_that_of_the_net(files):
    definition, weights, net = files
    expected = outputs(of_net(net))
    save_weights(net, weights.with_suffix(".caffemodel.h5"), hdf5=True)
    formats.pack(weights, weights.with_suffix(".demi"), net=definition, definition=True)
    for source in (
        (definition, weights),
        (definition, weights.with_suffix(".caffemodel.h5")),
        (definition, weights.with_suffix(".demi")),
        (None, weights.with_suffix(".demi")),
    ):
        model = of_files(*source, shapes={"": (7, 1, 4, 4)})
        assert model.name == "pair"
        assert torch.equal(outputs(model), expected)


def test_files_that_do_not_suffice(files, tmp_path):
    definition, weights, _ = files
    bare = tmp_path / "bare.demi"
    formats.pack(weights, bare)
    with pytest.raises(UsageError, match="no definition"):
        of_files(None, bare)
    with pytest.raises(UsageError, match="expected a prototxt"):
        of_files(None, weights)
    with pytest.raises(UsageError, match="write name=N"):
        of_files(definition, weights, shapes={"": (7, 1, 4, 4), "label": (7,)})


def test_layers_without_weights_are_an_error(files):
    definition, weights, _ = files
    definition.write_text(TRAIN_VAL.replace('name: "ip"', 'name: "ip9"'))
    with pytest.raises(WeightsError, match="no weights for layer 'ip9'"):
        of_files(definition, weights, shapes={"data": SHAPES["data"]})


GATE = """
input: "data" input_shape { dim: 2 dim: 3 dim: 4 }
input: "g" input_shape { dim: 4 }
layer { name: "s" type: "Scale" bottom: "data" bottom: "g" top: "s" scale_param { axis: -1 } }
"""


@pytest.mark.parametrize("suffix", [".py", ".onnx", ".pt2"])
def test_inputs_whose_batches_differ_keep_them(suffix: str) -> None:
    target = TARGETS[suffix]

    def compared(model: Model) -> list[OutputComparison]:
        files = target.make(model).files
        return compare(model, lambda inputs: target.run(files, inputs), target.tolerance)

    model = of_net(Net(prototxt.parse(GATE, schema.NetParameter(), "net")))
    with pytest.raises(UsageError, match=r"different sizes, \{'data': 2, 'g': 4\}; keep them by batch=.fixed."):
        model.fixed(5)
    with pytest.raises(UsageError, match=r"keep them by batch=.fixed."):
        compared(model)
    (row,) = compared(model.fixed())
    assert row.shape == (2, 3, 4)
