"""Caffe nets as graphs, and the passes on them."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.errors import NetError, UsageError
from demitasse.export.source.text import written
from demitasse.graph import Graph, Model, Step
from demitasse.graph.caffe import of_net, of_whole_net
from demitasse.graph.graph import Activation
from demitasse.graph.passes import (
    drop_identities,
    fold_normalizations,
    fuse,
    merge_normalizations,
    plan_memory,
)

PASSES = (drop_identities, merge_normalizations, fold_normalizations, fuse, plan_memory)

TEXT = """
name: "block"
input: "data" input_shape { dim: 2 dim: 3 dim: 6 dim: 6 }
layer { name: "conv" type: "DNSConvolution" bottom: "data" top: "a"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" } } }
layer { name: "norm" type: "BatchNorm" bottom: "a" top: "a" }
layer { name: "scale" type: "Scale" bottom: "a" top: "a" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "drop" type: "Dropout" bottom: "a" top: "b" }
layer { name: "conv2" type: "Convolution" bottom: "b" top: "c"
  convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "gaussian" } } }
layer { name: "sum" type: "Eltwise" bottom: "b" bottom: "c" top: "d" }
layer { name: "clip" type: "Clip" bottom: "d" top: "d" clip_param { min: -1 max: 6 } }
layer { name: "pool" type: "Pooling" bottom: "d" top: "e" pooling_param { pool: AVE global_pooling: true } }
"""


def net(text: str = TEXT, phase: int = schema.TEST) -> Net:
    return Net(prototxt.parse(text, schema.NetParameter(), "net"), phase)


def kinds(graph: Graph) -> list[str]:
    return [step.kind for step in graph.steps]


def applied(count: int) -> Graph:
    graph = of_whole_net(net())
    for apply in PASSES[:count]:
        graph = apply(graph)
    return graph


def test_a_net_is_read_without_copies_and_with_a_value_for_each_top() -> None:
    graph = of_whole_net(net())
    assert graph.name == "block"
    assert kinds(graph) == [
        "Convolution", "BatchNorm", "Scale", "ReLU", "Dropout", "Convolution", "Eltwise", "Clip", "Pooling",
    ]  # fmt: skip
    conv, norm, *_, sum_, _, _ = graph.steps
    assert graph.inputs == {"data": 0}
    assert norm.inputs == conv.outputs != norm.outputs
    assert [graph.values[number].name for number in (conv.outputs[0], norm.outputs[0])] == ["a", "a"]
    assert sum_.inputs == [graph.steps[4].outputs[0], graph.steps[5].outputs[0]]
    assert vars(conv.settings) == {
        "axis": 1, "kernel": (3, 3), "stride": (1, 1), "pad": (1, 1), "dilation": (1, 1), "group": 1,
    }  # fmt: skip
    assert sorted(norm.weights) == ["mean", "variance"]
    assert graph.shapes(graph.steps[-1]) == [(2, 4, 6, 6)]


def test_weights_are_those_that_the_layer_computes_with() -> None:
    found = net()
    layer = found.layer("conv")
    layer.weight_mask[1] = False
    step = of_whole_net(found).steps[0]
    assert torch.equal(step.weights["weight"], layer.weight * layer.weight_mask)


def test_passes_one_after_the_other() -> None:
    assert "Dropout" not in kinds(applied(1))
    assert kinds(applied(2))[:3] == ["Convolution", "BatchNorm", "ReLU"]
    assert sorted(applied(2).steps[1].weights) == ["bias", "mean", "variance", "weight"]
    assert kinds(applied(3))[:2] == ["Convolution", "ReLU"]
    fused = applied(4)
    assert kinds(fused) == ["Convolution", "Convolution", "Pooling"]
    first, second, _ = fused.steps
    assert (first.activation, first.adds) == (Activation("ReLU"), False)
    assert (second.activation, second.adds) == (Activation("Clip", (-1, 6)), True)
    assert second.inputs == first.outputs * 2
    planned = applied(5)
    assert [step.dead for step in planned.steps] == [[0], first.outputs, second.outputs]
    # it convolves what it adds, so that it must not overwrite it
    assert not planned.steps[1].overwrites


@pytest.mark.parametrize("count", range(len(PASSES)))
def test_a_pass_leaves_its_graph_as_it_was(count: int) -> None:
    graph = applied(count)
    before = [copy.copy(step) for step in graph.steps]
    weights = [{name: tensor.clone() for name, tensor in step.weights.items()} for step in graph.steps]
    lists = [(list(step.inputs), list(step.outputs), list(step.dead)) for step in graph.steps]
    outputs, values = dict(graph.outputs), list(graph.values)
    PASSES[count](graph)
    assert [vars(step) for step in graph.steps] == [vars(step) for step in before]
    assert [(step.inputs, step.outputs, step.dead) for step in graph.steps] == lists
    assert (graph.outputs, graph.values) == (outputs, values)
    for step, kept in zip(graph.steps, weights, strict=True):
        assert step.weights.keys() == kept.keys()
        assert all(torch.equal(step.weights[name], tensor) for name, tensor in kept.items())


def test_a_summand_that_nobody_else_needs_is_overwritten() -> None:
    text = TEXT.replace('bottom: "b" top: "c"', 'bottom: "data" top: "c"')
    graph = of_whole_net(net(text))
    for apply in PASSES:
        graph = apply(graph)
    assert [(step.name, step.overwrites) for step in graph.steps if step.adds] == [("conv2", True)]


def test_what_is_returned_keeps_its_step() -> None:
    graph = of_whole_net(net(), keep=["d"])
    for apply in PASSES:
        graph = apply(graph)
    assert graph.outputs.keys() == {"e", "d"}
    assert not any(graph.outputs["d"] in step.dead for step in graph.steps)


def test_what_cannot_be_read() -> None:
    with pytest.raises(UsageError, match="phase TEST; this one is in phase TRAIN"):
        of_whole_net(net(phase=schema.TRAIN))
    with pytest.raises(NetError, match="there is no blob 'dat'; did you mean 'data'"):
        of_whole_net(net(), keep=["dat"])
    for read in (of_whole_net, of_net):
        with pytest.raises(UsageError, match=r"expected a demitasse.caffe.net.Net, found a Linear"):
            read(nn.Linear(2, 3))


def test_a_step_that_only_its_layer_knows() -> None:
    text = TEXT.replace('type: "Dropout"', 'type: "Dropout" phase: TRAIN')
    step = of_whole_net(net(text)).steps[4]
    assert (step.kind, vars(step.settings), step.weights) == ("Dropout in training", {}, {})
    assert step.call.training


def test_source_keeps_a_value_whose_name_another_value_takes() -> None:
    """Values are told apart by their numbers, not by the names of their blobs."""
    graph = Graph("two")
    old, new, total = (graph.add_value(name, (2, 3)) for name in ("x", "x", "y"))
    graph.inputs, graph.outputs = {"x": old}, {"y": total}
    settings = SimpleNamespace(slope=0.0), SimpleNamespace(operation="SUM", coeff=[1.0, -1.0])
    graph.steps = [
        Step("relu", "ReLU", [old], [new], settings[0], {}, nn.ReLU()),
        Step("sum", "Eltwise", [new, old], [total], settings[1], {}, nn.Identity()),
    ]

    def reference(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"y": inputs["x"].relu() - inputs["x"]}

    text, _ = written(Model(graph, {"x": (2, 3)}, {"x": 0}, reference))
    assert "x_ = F.relu(x)" in text
    assert "y = x_ - x" in text
