"""Whether sparse weights are faster than dense operations: estimates, from what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from demitasse.graph.graph import Graph, Step
from demitasse.runtime.native import nibbles

# multiply-adds a second and thread, measured with AVX-512: of sparse convolutions for each weight that is not zero,
# of dense ones, and of dense ones with few channels a group, which vectors suit less
_SPARSE, _DENSE, _DEPTHWISE = 20e9, 50e9, 8e9
# seconds for each weight that is not zero of an inner product, and bytes a second that a dense one reads
_ENTRY, _READ = 0.4e-9, 12e9
# images from which an inner product keeps a vector of them in a register, as a convolution does of pixels
MANY = 3
# what estimates may be wrong by
_MARGIN = 0.85


def native_pays(graph: Graph, batch: int) -> bool:
    """Tells whether a graph is computed faster from sparse weights, for batches of a size."""
    if any(not weight.numel() or weight.dtype != torch.float32 for weight in _weights(graph)):
        return False
    found = [costs(graph, step, batch) for step in graph.steps]
    return sum(sparse for sparse, _ in found) < _MARGIN * sum(dense for _, dense in found)


def _weights(graph: Graph) -> Iterator[Tensor]:
    return (weight for step in graph.steps for weight in step.weights.values())


def inner_product_pays(rows: int, kept: int, total: int, coded: bool = False) -> bool:
    """Tells whether an inner product is computed faster from packed weights.

    Args:
        rows: that are multiplied.
        kept: weights that are not zero.
        total: weights.
        coded: whether 4-bit codes hold the weights.
    """
    packed, dense = _inner_product(rows, kept, total, coded)
    return packed < _MARGIN * dense


def codes_pay(rows: int, kept: int, total: int) -> bool:
    """Tells whether an inner product is computed faster from 4-bit codes than from sparse weights."""
    return rows <= nibbles.MOST and nibbles.seconds(total, rows) < _inner_product(rows, kept, total, False)[0]


def _inner_product(rows: int, kept: int, total: int, coded: bool) -> tuple[float, float]:
    if coded and codes_pay(rows, kept, total):
        return nibbles.seconds(total, rows), _inner_product(rows, kept, total, False)[1]
    if rows < MANY:
        return rows * kept * _ENTRY, total * 4 / _READ
    return rows * kept / _SPARSE, rows * total / _DENSE


def costs(graph: Graph, step: Step, batch: int) -> tuple[float, float]:
    """Returns the seconds that a step takes from sparse weights, and with dense operations."""
    if step.kind not in ("Convolution", "InnerProduct"):
        return 0.0, 0.0
    weight = step.weights["weight"]
    kept = int(weight.count_nonzero())
    if step.kind == "InnerProduct":
        return _inner_product(batch, kept, weight.numel(), nibbles.suits(weight.detach().numpy()))
    positions = batch * math.prod(graph.values[step.outputs[0]].shape[2:])
    deep = weight[0, 0].numel() * weight.shape[1] >= 16
    return positions * kept / _SPARSE, positions * weight.numel() / (_DENSE if deep else _DEPTHWISE)
