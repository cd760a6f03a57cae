"""Whether sparse weights are faster than dense operations: estimates, from what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator

from demitasse.graph.graph import Graph, Step
from demitasse.graph.weights import Weight, is_float32, kept, size

# multiply-adds a second and thread, measured with AVX-512: of sparse convolutions for each weight that is not zero,
# of dense ones, and of dense ones with few channels a group, which vectors suit less
_SPARSE, _DENSE, _DEPTHWISE = 20e9, 50e9, 8e9
# seconds for each weight that is not zero of an inner product, and bytes a second that a dense one reads
_ENTRY, _READ = 0.4e-9, 12e9
# images from which an inner product keeps a vector of them in a register, as a convolution does of pixels
MANY = 6
# what estimates may be wrong by
_MARGIN = 0.85


def native_pays(graph: Graph, batch: int) -> bool:
    """Tells whether a graph is computed faster from sparse weights, for batches of a size."""
    if any(not size(weight) or not is_float32(weight) for weight in _weights(graph)):
        return False
    found = [costs(graph, step, batch) for step in graph.steps]
    return sum(sparse for sparse, _ in found) < _MARGIN * sum(dense for _, dense in found)


def _weights(graph: Graph) -> Iterator[Weight]:
    return (weight for step in graph.steps for weight in step.weights.values())


def inner_product_pays(rows: int, kept: int, total: int) -> bool:
    """Tells whether an inner product is computed faster from sparse weights.

    Args:
        rows: that are multiplied.
        kept: weights that are not zero.
        total: weights.
    """
    sparse, dense = _inner_product(rows, kept, total)
    return sparse < _MARGIN * dense


def _inner_product(rows: int, kept: int, total: int) -> tuple[float, float]:
    if rows < MANY:
        return rows * kept * _ENTRY, total * 4 / _READ
    return rows * kept / _SPARSE, rows * total / _DENSE


def costs(graph: Graph, step: Step, batch: int) -> tuple[float, float]:
    """Returns the seconds that a step takes from sparse weights, and with dense operations."""
    if step.kind not in ("Convolution", "InnerProduct"):
        return 0.0, 0.0
    weight = step.weights["weight"]
    if step.kind == "InnerProduct":
        return _inner_product(batch, kept(weight), size(weight))
    positions = batch * math.prod(graph.values[step.outputs[0]].shape[2:])
    deep = math.prod(weight.shape[1:]) >= 16
    return positions * kept(weight) / _SPARSE, positions * size(weight) / (_DENSE if deep else _DEPTHWISE)
