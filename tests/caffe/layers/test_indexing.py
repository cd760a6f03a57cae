"""Embed, BatchReindex and Filter: batches whose size nobody knows, and numbers that stand for nothing."""

from __future__ import annotations

import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.errors import DataError, NetError
from tests.golden.single import single_layer, single_net

FILTERED = """
input: "x" input_shape { dim: 4 dim: 3 }  input: "label" input_shape { dim: 4 }  input: "s" input_shape { dim: 4 }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2
  weight_filler { type: "xavier" } } }
layer { name: "f" type: "Filter" bottom: "ip" bottom: "label" bottom: "s" top: "kept" top: "kept_label" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "kept" bottom: "kept_label" top: "loss" }
layer { name: "pair" type: "EuclideanLoss" bottom: "kept_label" bottom: "kept_label" top: "pair" loss_weight: 0 }
"""


def filtered() -> Net:
    torch.manual_seed(0)
    return Net(prototxt.parse(FILTERED, schema.NetParameter(), "net"), schema.TRAIN)


def test_a_net_behind_a_filter_is_built_for_all_items_and_runs_with_some():
    net = filtered()
    assert net.shapes["kept"] == (4, 2)
    batch = {"x": torch.randn(4, 3), "label": torch.tensor([0.0, 1, 1, 0]), "s": torch.tensor([0.0, 1, 0, -2])}
    found = net(batch, keep=["ip", "kept", "kept_label"])
    assert torch.equal(found["kept"], found["ip"][[1, 3]])
    assert found["kept_label"].tolist() == [1, 0]
    net.loss(found).backward()
    whole = torch.nn.functional.cross_entropy(found["ip"][[1, 3]], torch.tensor([1, 0]))
    torch.testing.assert_close(found["loss"], whole)
    (expected,) = torch.autograd.grad(
        torch.nn.functional.cross_entropy(net.layer("ip")(batch["x"])[[1, 3]], torch.tensor([1, 0])),
        net.layer("ip").weight,
    )
    torch.testing.assert_close(net.layer("ip").weight.grad, expected)


def test_a_filter_that_lets_nothing_through():
    net = filtered()
    found = net({"x": torch.randn(4, 3), "label": torch.zeros(4), "s": torch.zeros(4)}, keep=["kept"])
    assert found["kept"].shape == (0, 2)
    assert found["loss"].item() == 0
    assert found["pair"].isnan()  # the mean of nothing, as in Caffe
    found["loss"].backward()
    assert torch.equal(net.layer("ip").weight.grad, torch.zeros(2, 3))


def test_items_may_be_reindexed_to_none():
    layer = single_layer("BatchReindex", "", (3, 2), (0,))
    assert layer(torch.randn(3, 2), torch.zeros(0)).shape == (0, 2)


@pytest.mark.parametrize("wrong", [-1.0, 5.0])
def test_numbers_that_stand_for_nothing_are_told(wrong):
    embed = single_layer("Embed", "embed_param { num_output: 2 input_dim: 5 }", (3,))
    with pytest.raises(DataError, match=rf"layer 'l': index is {wrong:.0f}; expected 0 to 4"):
        embed(torch.tensor([0.0, wrong, 4.0]))
    reindex = single_layer("BatchReindex", "", (5, 2), (3,))
    with pytest.raises(DataError, match=rf"layer 'l': item is {wrong:.0f}; expected 0 to 4"):
        reindex(torch.zeros(5, 2), torch.tensor([0.0, wrong, 4.0]))


@pytest.mark.parametrize("kind", ["HingeLoss", "MultinomialLogisticLoss", "InfogainLoss"])
@pytest.mark.parametrize("wrong", [-1.0, 3.0])
def test_labels_that_are_no_class_are_told(kind, wrong):
    matrix = [(3, 3)] if kind == "InfogainLoss" else []
    layer = single_layer(kind, "", (2, 3), (2,), *matrix)
    with pytest.raises(DataError, match=rf"layer 'l': label is {wrong:.0f}; expected 0 to 2"):
        layer(torch.rand(2, 3), torch.tensor([0.0, wrong]), *(torch.eye(3) for _ in matrix))


SELECTING = [
    ("Embed", "embed_param { num_output: 2 input_dim: 5 }", ((2,),), 0),
    ("BatchReindex", "", ((3, 2), (3,)), 1),
    ("Filter", "", ((3, 2), (3,)), 1),
    ("LSTM", "recurrent_param { num_output: 2 }", ((3, 2, 4), (3, 2)), 1),
    ("SoftmaxWithLoss", "", ((3, 2), (3,)), 1),
    ("HingeLoss", "", ((3, 2), (3,)), 1),
    ("InfogainLoss", "", ((3, 2), (3,), (2, 2)), 2),
]


@pytest.mark.parametrize(("kind", "settings", "shapes", "index"), SELECTING, ids=[row[0] for row in SELECTING])
def test_numbers_and_labels_take_no_gradient(kind, settings, shapes, index):
    bottoms = {f"b{i}": torch.ones(shape) for i, shape in enumerate(shapes)}
    if kind in ("SoftmaxWithLoss", "HingeLoss", "InfogainLoss"):
        bottoms["b1"].zero_()
    bottoms[f"b{index}"].requires_grad_()
    message = rf"layer 'l': {kind} has no gradient for its bottom 'b{index}', .*; set propagate_down: false for it"
    with pytest.raises(NetError, match=message):
        single_net(kind, settings, *shapes)(bottoms)
    with torch.no_grad():
        single_net(kind, settings, *shapes)(bottoms)
    down = " ".join(f"propagate_down: {str(i != index).lower()}" for i in range(len(shapes)))
    single_net(kind, f"{settings} {down}", *shapes)(bottoms)


FAULTY = [
    ("Embed", "embed_param { num_output: 2 }", ((2,),), 1,
     r"num_output is 2 and input_dim 0; expected positive numbers for both"),
    ("BatchReindex", "", ((3, 2), (3, 1)), 1,
     r"items and one axis of indices, found bottoms of shape \[3, 2\] and \[3, 1\]"),
    ("Filter", "", ((3, 2), (3, 4), (3,)), 1,
     r"one top for each bottom except the selector, found 1 tops for 3 bottoms"),
    ("Filter", "", ((3, 2), (3, 2)), 1, r"the selector has shape \[3, 2\]; expected one number for each item"),
    ("Filter", "", ((4, 2), (3, 1)), 1, r"bottom 'b0' of shape \[4, 2\] does not fit the selector of shape \[3, 1\]"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "settings", "shapes", "tops", "message"), FAULTY)
def test_faulty_layers_are_told(kind, settings, shapes, tops, message):
    with pytest.raises(NetError, match=message):
        single_layer(kind, settings, *shapes, tops=tops)
