"""Nets: what is built, what runs, and what a faulty net is told."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.models.blobs import array_blob
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.training import solver_nets
from demitasse.errors import DemitasseError, NetError, PrototxtError, UnknownNameError, WeightsError

DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }'
LABEL = 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 3 } } }'
IP = 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 4 } %s }'


def build(*layers: str, phase: int = schema.TEST) -> Net:
    return Net(prototxt.parse("\n".join(layers), schema.NetParameter(), "net"), phase)


def test_an_unknown_layer_type_gets_file_line_and_nearest_name(tmp_path: Path):
    path = tmp_path / "deploy.prototxt"
    path.write_text(f'name: "n"\n\n{DATA}\nlayer {{\n name: "conv2" type: "Convolutoin" bottom: "data" top: "c" }}')
    with pytest.raises(
        UnknownNameError,
        match=r"layer 'conv2' \(.*deploy\.prototxt:4\): unknown layer type 'Convolutoin'; "
        r"did you mean 'Convolution'\?",
    ):
        Net.from_file(path)


@pytest.mark.parametrize(("written", "meant"), [("Dta", "Data"), ("HDF5data", "HDF5Data"), ("Relu", "ReLU")])
def test_data_layers_are_suggested_too(written, meant):
    with pytest.raises(UnknownNameError, match=rf"unknown layer type '{written}'; did you mean '{meant}'\?"):
        build(f'layer {{ name: "d" type: "{written}" top: "data" }}')


FAULTY = [
    # missing bottom, with the nearest name
    ([DATA, 'layer { name: "r" type: "ReLU" bottom: "dta" top: "r" }'],
     r"layer 'r' \(net\): bottom 'dta' does not exist; did you mean 'data'\?"),
    ([DATA, 'layer { name: "r" type: "ReLU" bottom: "data" top: "x" }', 'layer { name: "s" type: "DummyData" top: "x" '
      "dummy_data_param { shape { dim: 1 } } }"], r"layer 's' \(net\): top 'x' is made by another layer already"),
    # numbers of bottoms and tops
    ([DATA, 'layer { name: "r" type: "ReLU" top: "r" }'], r"layer 'r' \(net\): ReLU takes 1 bottoms, found 0"),
    ([DATA, LABEL, 'layer { name: "r" type: "ReLU" bottom: "data" bottom: "label" top: "r" }'],
     r"ReLU takes 1 bottoms, found 2: \['data', 'label'\]"),
    ([DATA, 'layer { name: "e" type: "Eltwise" bottom: "data" top: "e" }'],
     r"Eltwise takes 2 to any number bottoms, found 1"),
    ([DATA, 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" top: "s" }'], r"ReLU takes 1 tops, found 2"),
    ([DATA, 'layer { name: "s" type: "Slice" bottom: "data" top: "a" top: "b" }'],
     r"3 entries of axis 1 cannot be cut into 2 equal tops"),
    ([DATA, 'layer { name: "p" type: "Pooling" bottom: "data" top: "a" top: "b" pooling_param { pool: AVE '
      "kernel_size: 2 } }"], r"AVE pooling has two tops; expected one"),
    # shapes that do not fit each other
    ([DATA, LABEL, 'layer { name: "e" type: "Eltwise" bottom: "data" bottom: "label" top: "e" }'],
     r"layer 'e' \(net\): bottom 'label' of shape \[3\] does not fit 'data' of shape \[2, 3, 8, 8\]"),
    ([DATA, LABEL, 'layer { name: "c" type: "Concat" bottom: "data" bottom: "label" top: "c" }'],
     r"layer 'c' \(net\): Concat cannot take bottoms of shape \[2, 3, 8, 8\] and \[3\]"),
    ([DATA, LABEL, IP % "", 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "l" }'],
     r"layer 'l' \(net\): scores of shape \[2, 4\] need 2 labels, found labels of shape \[3\]"),
    ([DATA, LABEL, IP % "", 'layer { name: "a" type: "Accuracy" bottom: "ip" bottom: "label" top: "a" }'],
     r"layer 'a' \(net\): scores of shape \[2, 4\] need 2 labels, found labels of shape \[3\]"),
    ([DATA, LABEL, 'layer { name: "l" type: "EuclideanLoss" bottom: "data" bottom: "label" top: "l" }'],
     r"layer 'l' \(net\): bottoms of shape \[2, 3, 8, 8\] and \[3\] do not fit each other"),
    ([DATA, LABEL, 'layer { name: "l" type: "SigmoidCrossEntropyLoss" bottom: "data" bottom: "label" top: "l" }'],
     r"scores of shape \[2, 3, 8, 8\] and targets of shape \[3\] do not fit"),
    ([DATA, LABEL, 'layer { name: "s" type: "Scale" bottom: "data" bottom: "label" top: "s" scale_param { axis: 0 } }'],
     r"bottom 'label' of shape \[3\] does not fit 'data' of shape \[2, 3, 8, 8\] from axis 0 on"),
    ([DATA, LABEL, 'layer { name: "c" type: "Convolution" bottom: "data" bottom: "label" top: "a" top: "b" '
      "convolution_param { num_output: 2 kernel_size: 3 } }"],
     r"bottom 'label' of shape \[3\] does not fit 'data' of shape \[2, 3, 8, 8\]"),
    # settings that do not fit the bottom
    ([DATA, IP.replace("num_output: 4", "num_output: 4 axis: 4") % ""],
     r"layer 'ip' \(net\): axis 4 is out of range for a bottom with 4 axes"),
    ([DATA, IP.replace("num_output: 4", "") % ""], r"num_output is 0; expected a positive number"),
    ([DATA, 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4 '
      "kernel_size: 3 group: 2 } }"], r"group 2 does not divide the 3 channels of the bottom and the 4 of the top"),
    ([DATA, 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4 } }'],
     r"layer 'c' \(net\): kernel_size is missing"),
    ([DATA, 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4 '
      "kernel_size: 9 } }"], r"Convolution cannot take bottoms of shape \[2, 3, 8, 8\]"),
    ([DATA, 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4 '
      "kernel_size: 3 kernel_size: 3 kernel_size: 3 } }"], r"kernel_size has 3 values for 2 spatial axes"),
    ([DATA, 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4 '
      "kernel_size: 3 pad: 1 pad_h: 1 } }"],
     r"found pad_h or pad_w; expected them only without pad and for two spatial axes"),
    ([DATA, 'layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { kernel_size: 12 } }'],
     r"kernel \[12, 12\] is larger than the padded plane \[8, 8\]"),
    ([DATA, 'layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { kernel_size: 2 pad: 2 } }'],
     r"pad \[2, 2\] is not smaller than the kernel \[2, 2\]"),
    ([DATA, 'layer { name: "p" type: "Pooling" bottom: "data" top: "p" }'],
     r"the kernel is \[0, 0\] and the stride \[1, 1\]; expected positive numbers"),
    ([DATA, 'layer { name: "n" type: "LRN" bottom: "data" top: "n" lrn_param { local_size: 4 } }'],
     r"local_size is 4; expected an odd number"),
    ([DATA, 'layer { name: "d" type: "Dropout" bottom: "data" top: "d" dropout_param { dropout_ratio: 1 } }'],
     r"dropout_ratio is 1; expected at least 0 and less than 1"),
    ([DATA, 'layer { name: "r" type: "Reshape" bottom: "data" top: "r" reshape_param { shape { dim: 0 dim: 7 } } }'],
     r"layer 'r' \(net\): Reshape cannot take bottoms of shape \[2, 3, 8, 8\]"),
    ([DATA, 'layer { name: "e" type: "Eltwise" bottom: "data" bottom: "data" top: "e" eltwise_param { coeff: 1 } }'],
     r"found 1 values of coeff for 2 bottoms with operation SUM; expected one for each"),
    ([DATA, IP % "", 'layer { name: "a" type: "ArgMax" bottom: "ip" top: "a" argmax_param { top_k: 9 } }'],
     r"top_k is 9; expected 1 to 4, the number of scores"),
    # parameters
    ([DATA, IP % "param {} param {} param {}"],
     r"layer 'ip' \(net\): found 3 param entries, but InnerProduct has 2 blobs"),
    ([DATA, IP % 'param { name: "w" }', 'layer { name: "b" type: "InnerProduct" bottom: "ip" top: "b" '
      'param { name: "w" } inner_product_param { num_output: 4 } }'],
     r"layer 'b' \(net\): parameter 'w' has shape \[4, 4\], but shape \[4, 192\] in layer 'ip', which owns it"),
    ([DATA, IP % 'param { name: "w" lr_mult: 1 }', 'layer { name: "b" type: "InnerProduct" bottom: "data" top: "b" '
      'param { name: "w" lr_mult: 2 } inner_product_param { num_output: 4 } }'],
     r"parameter 'w' has lr_mult 2, but 1 in layer 'ip'"),
    ([DATA, IP % "include { phase: TEST } exclude { phase: TRAIN }"], r"give include or exclude rules, not both"),
    ([DATA, IP % "propagate_down: true propagate_down: true"], r"propagate_down has 2 values for 1 bottoms"),
    (['layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 4611686018427387904 dim: 4 } } }'],
     r"layer 'p' \(net\): blob 'weight' of shape \[4611686018427387904, 4\] has 18446744073709551616 entries"),
    # layers that cannot be in place, losses, parts and pyramids
    ([DATA, IP.replace('top: "ip"', 'top: "data"') % ""],
     r"layer 'ip' \(net\): InnerProduct does not compute in place: give its top 'data' a name of its own"),
    ([DATA, IP % "loss_weight: 1 loss_weight: 0"], r"layer 'ip' \(net\): loss_weight has 2 values for 1 tops"),
    ([DATA, LABEL, 'layer { name: "h" type: "HingeLoss" bottom: "data" bottom: "label" }'],
     r"scores of shape \[2, 3, 8, 8\] need one label for each item, found labels of shape \[3\]"),
    ([DATA, LABEL.replace("3", "2"), 'layer { name: "c" type: "ContrastiveLoss" bottom: "data" bottom: "data" '
      'bottom: "label" }'],
     r"the pairs have shapes \[2, 3, 8, 8\] and \[2, 3, 8, 8\]; expected the same shape \(n, channels\)"),
    ([DATA, IP % "", LABEL.replace("3", "2"), 'layer { name: "i" type: "InfogainLoss" bottom: "ip" bottom: "label" }'],
     r"has no matrix; expected a third bottom or infogain_loss_param"),
    ([DATA, IP % "", LABEL.replace("3", "2"), 'layer { name: "i" type: "InfogainLoss" bottom: "ip" bottom: "label" '
      'bottom: "data" }'], r"'data_.*' has shape \[2, 3, 8, 8\]; expected a matrix of 4 x 4"),
    ([DATA, 'layer { name: "c" type: "Clip" bottom: "data" top: "c" }'], r"clip_param is missing; expected clip_param"),
    ([DATA, 'layer { name: "c" type: "Clip" bottom: "data" top: "c" clip_param { min: 1 max: 0 } }'],
     r"min 1 of clip_param is above max 0"),
    ([DATA, 'layer { name: "e" type: "Exp" bottom: "data" top: "e" exp_param { base: 0 } }'],
     r"base is 0; expected a positive number, or -1 for e"),
    ([DATA, 'layer { name: "e" type: "Log" bottom: "data" top: "e" log_param { base: 1 } }'],
     r"base is 1, which has no logarithm"),
    ([DATA, LABEL, 'layer { name: "c" type: "Crop" bottom: "data" bottom: "label" top: "c" }'],
     r"a crop of shape \[3\] at offset \[0, 0\] from axis 2 on does not fit in the bottom of shape \[2, 3, 8, 8\]"),
    ([DATA, 'layer { name: "c" type: "Crop" bottom: "data" bottom: "data" top: "c" crop_param { offset: 1 } }'],
     r"at offset \[1, 1\] from axis 2 on does not fit in the bottom"),
    ([DATA, 'layer { name: "c" type: "Crop" bottom: "data" bottom: "data" top: "c" crop_param { axis: 1 offset: 1 '
      "offset: 0 } }"], r"offset has 2 values for 3 cropped axes"),
    ([DATA, 'layer { name: "t" type: "Tile" bottom: "data" top: "t" }'], r"tiles is 0; expected a positive number"),
    ([DATA, 'layer { name: "s" type: "SPP" bottom: "data" top: "s" }'], r"pyramid_height is 0, but planes"),
    ([DATA, 'layer { name: "s" type: "SPP" bottom: "data" top: "s" spp_param { pyramid_height: 5 } }'],
     r"pyramid_height is 5, but planes of shape \[8, 8\] cannot be divided into 2\^\(pyramid_height - 1\) parts"),
    (['layer { name: "p" type: "Parameter" top: "p" }'],
     r"the shape in parameter_param is \[\]; expected positive sizes"),
    ([DATA, 'layer { name: "c" type: "Deconvolution" bottom: "data" top: "c" convolution_param { num_output: 4 '
      "kernel_size: 3 group: 3 } }"], r"group 3 does not divide the 3 channels of the bottom and the 4 of the top"),
    ([DATA, 'layer { name: "c" type: "Deconvolution" bottom: "data" top: "c" convolution_param { num_output: 4 '
      "kernel_size: 1 pad: 9 } }"], r"Deconvolution cannot take bottoms of shape \[2, 3, 8, 8\]"),
    ([DATA, 'layer { name: "c" type: "Im2col" bottom: "data" top: "c" convolution_param { kernel_size: 9 } }'],
     r"Im2col cannot take bottoms of shape \[2, 3, 8, 8\]"),
    (['input: "data" input_dim: 1 input_dim: 3 input_dim: 8'],
     r"net: found 3 values of input_dim; expected four for each input"),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "message"), FAULTY, ids=[message[:50] for _, message in FAULTY])
def test_a_faulty_net_is_told_what_is_wrong(layers, message):
    with pytest.raises(NetError, match=message):
        build(*layers)


def test_a_label_that_is_no_class_is_an_error():
    label = LABEL.replace("dim: 3", "dim: 2")
    net = build(
        DATA, label, IP % "", 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "l" }'
    )
    with pytest.raises(DemitasseError, match=r"layer 'l': a label is not one of the classes: Target 7 is out"):
        net({"data": torch.zeros(2, 3, 8, 8), "label": torch.tensor([0.0, 7.0])})


def test_outputs_losses_and_kept_blobs():
    net = build(
        DATA,
        IP % "loss_weight: 0.5",
        'layer { name: "r" type: "Reduction" bottom: "ip" top: "sum" loss_weight: 2 }',
    )
    assert net.outputs == ["ip_ip_0_split_0", "sum"]
    assert net.losses == {"ip_ip_0_split_0": 0.5, "sum": 2.0}
    torch.nn.init.ones_(net.layer("ip").bias)
    found = net({"data": torch.zeros(2, 3, 8, 8)}, keep=["ip"])
    assert set(found) == {"ip", "ip_ip_0_split_0", "sum"}
    assert net.loss(found).item() == 0.5 * 8 + 2 * 8


def test_an_in_place_blob_shows_its_final_value():
    net = build(DATA, 'layer { name: "r" type: "ReLU" bottom: "data" top: "data" }')
    found = net({"data": -torch.ones(2, 3, 8, 8)})
    assert torch.equal(found["data"], torch.zeros(2, 3, 8, 8))


def test_layer_names_may_hold_dots_and_names_of_methods():
    net = build(DATA, 'layer { name: "a.b" type: "ReLU" bottom: "data" top: "a" }',
                'layer { name: "keys" type: "ReLU" bottom: "a" top: "b" }')  # fmt: skip
    assert list(net.named_layers()) == ["a.b", "keys"]
    with pytest.raises(NetError, match=r"no layer 'a\.c'; did you mean 'a\.b'\?"):
        net.layer("a.c")


def test_shared_parameters_are_one_tensor_with_the_rates_that_are_given():
    second = 'layer { name: "b" type: "InnerProduct" bottom: "data" top: "b" inner_product_param { num_output: 4 } %s }'
    net = build(DATA, IP % 'param { name: "w" } param { lr_mult: 0 }', second % 'param { name: "w" lr_mult: 3 }')
    assert net.layer("ip").weight is net.layer("b").weight
    assert [(blob.layer, blob.name, blob.lr_mult) for blob in net.learnable] == [
        ("ip", "weight", 3.0),
        ("ip", "bias", 0.0),
        ("b", "bias", 1.0),
    ]
    assert not net.layer("ip").bias.requires_grad
    assert len(list(net.parameters())) == 3


def test_propagate_down_cuts_the_gradient():
    net = build(
        'force_backward: false',
        DATA,
        IP % "",
        'layer { name: "b" type: "InnerProduct" bottom: "ip" top: "b" propagate_down: false '
        'inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }',
    )  # fmt: skip
    net({"data": torch.ones(2, 3, 8, 8)})["b"].sum().backward()
    assert net.layer("b").weight.grad is not None
    assert net.layer("ip").weight.grad is None


def test_the_spec_is_not_changed():
    spec = prototxt.parse(f'input: "x" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4\n{DATA}',
                          schema.NetParameter(), "net")  # fmt: skip
    before = spec.SerializeToString()
    net = Net(spec)
    assert spec.SerializeToString() == before
    assert net.inputs == {"x": (1, 2, 3, 4), "data": (2, 3, 8, 8)}


def test_channels_last_holds_behind_a_single_channel():
    net = build(
        'input: "x" input_dim: 2 input_dim: 1 input_dim: 9 input_dim: 9',
        'layer { name: "c" type: "Convolution" bottom: "x" top: "c" '
        "convolution_param { num_output: 4 kernel_size: 3 } }",
    ).channels_last()
    top = net({"x": torch.randn(2, 1, 9, 9)})["c"]
    assert top.is_contiguous(memory_format=torch.channels_last)
    assert net.layer("c").weight.stride() == (9, 1, 3, 1)


def test_a_setting_that_must_be_given_is_told():
    with pytest.raises(PrototxtError, match=r"net: required fields are missing: layer\[1\]\.clip_param\.max"):
        build(DATA, 'layer { name: "c" type: "Clip" bottom: "data" top: "c" clip_param { min: 0 } }')


def test_a_loss_without_a_top_counts_and_is_no_output():
    label = LABEL.replace("dim: 3", "dim: 2")
    loss = 'layer { name: "%s" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" loss_weight: %s }'
    net = build(DATA, label, IP % "", loss % ("one", 1), loss % ("two", 0.5))
    assert net.outputs == []
    assert net.losses == {"one (automatic)": 1.0, "two (automatic)": 0.5}
    blobs = net({"data": torch.zeros(2, 3, 8, 8), "label": torch.zeros(2)})
    assert net.loss(blobs).item() == pytest.approx(1.5 * math.log(4))


def test_force_backward_overrides_propagate_down_and_rates_of_zero():
    ip = IP % "param { lr_mult: 0 } propagate_down: false"
    data = torch.ones(2, 3, 8, 8)
    net = build("force_backward: true", DATA, ip)
    torch.nn.init.ones_(net.layer("ip").weight)
    net({"data": data})["ip"].sum().backward()
    assert torch.equal(data.grad, torch.full_like(data, 4))
    assert net.layer("ip").weight.grad is not None
    plain = build(DATA, ip)
    found = plain({"data": torch.ones(2, 3, 8, 8, requires_grad=True)})["ip"]
    found.sum().backward()
    assert plain.layer("ip").weight.grad is None


def test_force_backward_gives_labels_no_gradient():
    label = LABEL.replace("dim: 3", "dim: 2")
    net = build("force_backward: true", DATA, label, IP % "",
                'layer { name: "l" type: "HingeLoss" bottom: "ip" bottom: "label" top: "l" }')  # fmt: skip
    batch = {"data": torch.rand(2, 3, 8, 8), "label": torch.zeros(2)}
    net(batch)["l"].backward()
    assert batch["data"].grad is not None
    assert batch["label"].grad is None


SHARING = [
    'layer { name: "a" type: "Convolution" bottom: "data" top: "a" param { name: "w" } convolution_param { '
    'num_output: 2 kernel_size: 8 bias_term: false weight_filler { type: "gaussian" } } }',
    'layer { name: "b" type: "InnerProduct" bottom: "data" top: "b" param { name: "w" share_mode: PERMISSIVE } '
    "inner_product_param { num_output: 2 bias_term: false } }",
]


def test_permissive_sharing_takes_the_numbers_in_another_shape():
    net = build(DATA, *SHARING)
    a, b = net.layer("a"), net.layer("b")
    assert [blob.layer for blob in net.learnable] == ["a"]
    assert len(list(net.parameters())) == 1
    assert [tuple(blob.shape) for blob in b.blobs()] == [(2, 192)]
    found = net({"data": torch.randn(2, 3, 8, 8)})
    torch.testing.assert_close(found["a"].flatten(1), found["b"])
    found["b"].sum().backward()
    assert a.weight.grad.abs().sum() > 0
    # what is loaded into the one stands in the other, in whatever order memory is
    net.channels_last()
    values = np.arange(384, dtype=np.float32).reshape(2, 192)
    net.load_blobs("b", [values])
    assert np.array_equal(a.weight.detach().numpy().reshape(2, 192), values)
    assert np.array_equal(b.weight.detach().numpy(), values)


def test_strict_sharing_and_other_counts_are_refused():
    with pytest.raises(NetError, match=r"parameter 'w' has shape \[2, 192\], but shape .* in layer 'a', which owns it"):
        build(DATA, SHARING[0], SHARING[1].replace("PERMISSIVE", "STRICT"))
    with pytest.raises(NetError, match=r"parameter 'w' has shape \[3, 192\], but shape .* in layer 'a', which owns it"):
        build(DATA, SHARING[0], SHARING[1].replace("num_output: 2", "num_output: 3"))


def test_a_test_net_takes_permissively_shared_blobs_along():
    train, test = build(DATA, *SHARING), build(DATA, *SHARING)
    alone = build(DATA, SHARING[1].replace("w", "other"))
    data = torch.randn(2, 3, 8, 8)
    expected = train({"data": data})["b"]
    for net in (test, alone):
        assert not torch.allclose(net({"data": data})["b"], expected)
        for _ in range(2):
            solver_nets.share_blobs(net, train)
        torch.testing.assert_close(net({"data": data})["b"], expected)


def test_a_layer_may_have_a_phase_of_its_own():
    dropout = 'layer { name: "%s" type: "Dropout" bottom: "data" top: "%s" %s }'
    net = build(DATA, dropout % ("a", "a", "phase: TEST"), dropout % ("b", "b", ""), phase=schema.TRAIN)
    for _ in range(2):
        found = net({"data": torch.ones(2, 3, 8, 8)})
        assert torch.equal(found["a"], torch.ones(2, 3, 8, 8))
        assert (found["b"] == 0).any()
        net.eval().train()
    assert torch.equal(net.eval()({"data": torch.ones(2, 3, 8, 8)})["b"], torch.ones(2, 3, 8, 8))


def test_blobs_that_a_net_brings_along_are_taken():
    spec = prototxt.parse(f"{DATA} {IP % ''}", schema.NetParameter(), "net")
    spec.layer[1].blobs.extend(map(array_blob, (np.ones((4, 192), "f4"), np.arange(4, dtype="f4"))))
    net = Net(spec)
    assert net.layer("ip").bias.tolist() == [0, 1, 2, 3]
    assert not net.spec.layer[1].blobs
    spec.layer[1].blobs.pop()
    with pytest.raises(WeightsError, match=r"the net's own blobs: layer 'ip' has 1 blobs, but the net's has 2"):
        Net(spec)
