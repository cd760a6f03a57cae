"""Whether packed weights are faster than dense operations: estimates, from what was measured with AVX-512."""

from __future__ import annotations

import math

from demitasse.graph.graph import Graph, Step
from demitasse.graph.weights import Weight, array, is_float32, is_on_cpu, kept, size
from demitasse.packed.weight import PackedWeight
from demitasse.runtime.native import nibbles
from demitasse.runtime.native.dense import GROUP

# multiply-adds a second and thread: of sparse convolutions for each weight that is not zero, of dense ones with our
# kernel and with PyTorch's, and of PyTorch's with few channels a group, which vectors suit less
_SPARSE, _DENSE, _TORCH, _DEPTHWISE = 24e9, 49e9, 45e9, 16e9
# seconds that a step takes beside its arithmetic: of our kernels, of PyTorch's, and of PyTorch's with windows
_CALL, _TORCH_CALL, _TORCH_WINDOWS = 0.2e-6, 4e-6, 15e-6
# seconds that it takes to wake other threads, and that they wait for each other after each step; and what is lost where
# PyTorch's threads, which look for work for milliseconds after each of its operations, hold the processors
_WAKE, _MEET, _CROWD = 40e-6, 1e-6, 1.5e-3
# images from which an inner product keeps a vector of them in a register, as a convolution does of pixels
MANY = 3
# share of weights that are not zero from which dense rows are faster than sparse ones
_DENSE_FROM = 0.5
# what estimates may be wrong by
_MARGIN = 0.85


def native_pays(graph: Graph, batch: int, entry: float = 0.0) -> bool:
    """Tells whether a graph is computed faster by our kernels, for batches of a size.

    Args:
        graph: after all passes.
        batch: the size.
        entry: seconds that our kernels take besides.
    """
    if not is_suited(graph):
        return False
    found = [costs(graph, step, batch) for step in graph.steps]
    return entry + sum(native for native, _ in found) < _MARGIN * sum(torch for _, torch in found)


def saved(graph: Graph, piece: Graph, batch: int, entry: float) -> float:
    """Returns what share of the time of a graph our kernels save on a part of it."""
    found = [costs(piece, step, batch) for step in piece.steps]
    whole = sum(costs(graph, step, batch)[1] for step in graph.steps)
    return (sum(torch - native for native, torch in found) - entry) / whole


def useful_threads(graph: Graph, batch: int, threads: int, beside_torch: bool = False) -> int:
    """Returns how many threads our kernels should use: all, or one where the others would save too little.

    Args:
        graph: that our kernels compute.
        batch: the size.
        threads: how many there are.
        beside_torch: whether PyTorch computes the steps before and after.
    """
    saved_by_all = (1 - 1 / threads) * sum(costs(graph, step, batch)[0] for step in graph.steps)
    lost = _WAKE + _MEET * len(graph.steps) + (_CROWD if beside_torch else 0)
    return threads if saved_by_all > lost else 1


def is_suited(graph: Graph) -> bool:
    """Tells whether all weights are such as our kernels have."""
    weights = [weight for step in graph.steps for weight in step.weights.values()]
    return all(size(weight) > 0 and is_float32(weight) and is_on_cpu(weight) for weight in weights)


def costs(graph: Graph, step: Step, batch: int) -> tuple[float, float]:
    """Returns the seconds that a step takes by our kernels, and by PyTorch's dense operations."""
    native, torch = _CALL, _TORCH_WINDOWS if step.kind == "Pooling" else _TORCH_CALL
    if step.kind == "InnerProduct":
        weight = step.weights["weight"]
        return native + _native_inner_product(batch, weight), torch + _dense_inner_product(batch, size(weight))
    if step.kind == "Convolution":
        weight = step.weights["weight"]
        positions = batch * math.prod(graph.values[step.outputs[0]].shape[2:])
        deep = math.prod(weight.shape[1:]) >= 16
        torch = _TORCH_WINDOWS + positions * size(weight) / (_TORCH if deep else _DEPTHWISE)
        dense = is_dense(weight, step.settings.group)
        native += positions * (size(weight) / _DENSE if dense else kept(weight) / _SPARSE)
    return native, torch


def form(step: Step, batch: int) -> str:
    """Returns what our kernels compute a step from: ``sparse`` or ``dense`` weights, or ``codes``; else ``native``."""
    weight = step.weights.get("weight")
    if step.kind == "InnerProduct" and weight is not None:
        if codes_pay(batch, weight):
            return "codes"
        return "dense" if batch >= MANY and is_dense(weight) else "sparse"
    if step.kind == "Convolution" and weight is not None:
        return "dense" if is_dense(weight, step.settings.group) else "sparse"
    return "native"


def is_dense(weight: Weight, groups: int = 1) -> bool:
    """Tells whether dense rows are faster than sparse ones, for a weight, (outputs, ...), of a number of groups."""
    suits = groups == 1 or weight.shape[0] // groups % GROUP == 0
    return suits and kept(weight) > _DENSE_FROM * size(weight)


def inner_product_pays(rows: int, weight: Weight) -> bool:
    """Tells whether an inner product is computed faster from packed weights than by PyTorch."""
    return _native_inner_product(rows, weight) < _MARGIN * _dense_inner_product(rows, size(weight))


def codes_pay(rows: int, weight: Weight) -> bool:
    """Tells whether 4-bit codes hold the weight of an inner product, and are the fastest way to compute it."""
    coded = nibbles.seconds(size(weight), rows)
    return rows <= nibbles.MOST and coded < _sparse_inner_product(rows, weight) and _suits(weight)


def _suits(weight: Weight) -> bool:
    if isinstance(weight, PackedWeight):  # of which no dense array is made only to look at it
        table = weight.table()
        return table is not None and nibbles.suits(table[None])
    return nibbles.suits(array(weight))


def _native_inner_product(rows: int, weight: Weight) -> float:
    return nibbles.seconds(size(weight), rows) if codes_pay(rows, weight) else _sparse_inner_product(rows, weight)


def _sparse_inner_product(rows: int, weight: Weight) -> float:
    if rows < MANY:
        return rows * kept(weight) * 0.5e-9
    if is_dense(weight):
        return max(rows, 16) * size(weight) / _DENSE
    return kept(weight) * max(1.2e-9, rows * 0.07e-9)


def _dense_inner_product(rows: int, total: int) -> float:
    return total * max(0.18e-9, 0.1e-9 + rows * 0.0175e-9)
