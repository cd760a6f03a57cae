"""Packed rows with factors, as folded normalizations leave them: the same as with dense weights."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
import torch

from demitasse.graph import Graph
from demitasse.graph.caffe import of_whole_net
from demitasse.graph.passes import planned
from demitasse.graph.weights import packed
from demitasse.packed.weight import PackedWeight
from demitasse.runtime.dense import DensePlan
from demitasse.runtime.native.plan import NativePlan
from tests.runtime.native.nets import conv, ip, layer, net

NORMALIZED = layer("BatchNorm", "a", "b") + layer("Scale", "b", "c", "scale_param { bias_term: true }")
NETS = {
    "convolution": conv("data", "a") + NORMALIZED,
    "without bias": conv("data", "a", 5, "kernel_size: 3 bias_term: false") + NORMALIZED,
    "activation": conv("data", "a") + NORMALIZED + layer("ReLU", "c", "d"),
    "groups": conv("data", "a", 9, "kernel_size: 3 group: 3") + NORMALIZED,
    "sum": conv("data", "a", 6) + NORMALIZED + layer("Eltwise", "c data", "d") + layer("ReLU", "d", "e"),
    "inner product": ip("data", "a") + layer("Scale", "a", "b", "scale_param { bias_term: true }"),
    "inner product and activation": ip("data", "a") + layer("Scale", "a", "b") + layer("ReLU", "b", "c"),
}


def with_packed_weights(graph: Graph) -> Graph:
    graph = graph.copy()
    for step in graph.steps:
        if step.kind in ("Convolution", "InnerProduct"):
            step.weights["weight"] = packed(step.weights["weight"])
    return graph


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("name", NETS)
def test_folded(name: str, batch: int) -> None:
    built = net(NETS[name])
    graph = of_whole_net(built)
    made = planned(with_packed_weights(graph))
    weight = made.steps[0].weights["weight"]
    assert isinstance(weight, PackedWeight)
    assert len(weight.rows().factor)
    inputs = {"data": torch.randn(batch, 6, 9, 11, generator=torch.Generator().manual_seed(0))}
    expected = DensePlan(planned(graph))(inputs)
    for threads in (1, 2):
        found = NativePlan(made, batch, threads)(inputs)
        for output, tensor in expected.items():
            assert float((found[output] - tensor).abs().max()) <= 1e-5 * float(tensor.abs().max())
    dense = DensePlan(made)(inputs)
    for output, tensor in expected.items():
        assert float((dense[output] - tensor).abs().max()) <= 1e-5 * float(tensor.abs().max())


def test_codes_stay_as_they_are() -> None:
    weight = packed(np.array([[0.5, 0, -2], [0, 1, 1]], np.float32))
    scaled = reduce(lambda made, factor: made.scaled(np.full(2, factor)), (3.0, 0.1), weight)
    assert scaled.rows().codes is weight.rows().codes
    assert np.allclose(scaled.array(), weight.array() * 0.3)
