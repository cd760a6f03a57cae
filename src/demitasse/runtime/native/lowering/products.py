"""Convolutions and inner products."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from demitasse.graph.graph import Step
from demitasse.graph.products import is_convolution
from demitasse.graph.weights import array, kept
from demitasse.runtime.cost import MANY, codes_pay, is_dense
from demitasse.runtime.native import columns, dense, moving
from demitasse.runtime.native.layout import Layout, Windows, planes, shifts
from demitasse.runtime.native.lowering import nibbles
from demitasse.runtime.native.lowering.base import LOWER, NOTHING, Lowering, NotNative, Piece, numbers_of, windows_of
from demitasse.runtime.native.lowering.phases import into_phases, vectors_at_once
from demitasse.runtime.native.product import Epilogue, product
from demitasse.runtime.native.program import Argument

# how much longer a weight takes where vectors cross the lines of the cache, and how much a copy of a channel takes
_CROSSING, _COPY = 1.35, 1.5
# bytes that copies may take
_COPIES = 3 << 20
# vectors that stay in the first cache, and entries that a row of a panel needs for panels to pay
_VECTORS, _ENTRIES = 512, 6
# bytes of weights that stay in the cache
_CACHE = 1 << 19


@LOWER.register("Convolution")
def _convolution(made: Lowering, step: Step) -> None:
    windows, group = windows_of(step), step.settings.group
    if windows is None or not is_convolution(step):
        raise NotNative(f"layer {step.name!r}: a convolution over other than two axes")
    out = made.layout(step.outputs[0])
    row = _aligned_row(made, step, windows, out)
    seen = out if row in (0, out.row) else planes(out.channels, out.height, out.width, row, made.lanes)
    source, offsets, image = into_phases(made, step, windows, 0.0, seen, row > 0)
    if seen is out:
        _product(made, step, source, offsets.reshape(-1), image, out, made.batch, group=group)
        return
    target = made.new(seen.size(made.batch))
    _product(made, step, source, offsets.reshape(-1), image, seen, made.batch, target, group)
    made.call(
        moving.rows, (), target, made.output(step.outputs[0]), made.batch * out.channels, seen.plane, seen.row,
        out.height, out.width, out.plane, out.row,
    )  # fmt: skip


def _aligned_row(made: Lowering, step: Step, windows: Windows, out: Layout) -> int:
    """Returns the distance of rows with which vectors do not cross the lines of the cache; 0 where it does not pay."""
    weight = step.weights["weight"]
    if windows.kernel == (1, 1) or is_dense(weight, step.settings.group):
        return 0
    channels = made.layout(step.inputs[0]).channels
    seen = kept(weight) / channels  # weights that see a channel
    costs = {0: _CROSSING * seen * out.row}
    for row in {out.row, -(-out.row // made.lanes) * made.lanes}:
        copies = shifts(windows, row, made.lanes)
        fits = copies * channels * row * out.height * 4 <= _COPIES and not (step.adds and row != out.row)
        moved = out.channels / channels if row != out.row else 0  # planes of the output
        costs |= {row: (seen + _COPY * (copies + moved)) * row} if fits else {}
    return min(costs, key=lambda row: costs[row])


def _product(
    made: Lowering, step: Step, source: Piece, offsets: npt.NDArray[np.int64], image: int, out: Layout, batch: int,
    target: Piece | None = None, group: int = 1,
) -> None:  # fmt: skip
    weight, bias = step.weights["weight"], step.weights.get("bias")
    rows, inputs = weight.shape[0], int(np.prod(weight.shape[1:]))
    whole = is_dense(weight, group)
    count = -(-out.span // made.lanes)
    vectors = vectors_at_once(count, made.machine, dense.GROUP if whole else 1)
    blocks = -(-count // vectors)
    chunks = 1 if made.threads == 1 else min(-(-4 * made.threads // (blocks * batch)), rows)
    build: Callable[..., ir.Module]
    held: tuple[Argument, ...]
    if whole:
        block = made.held(step, ("dense",), lambda: dense.dense_rows(array(weight).reshape(rows, inputs)))
        build, held, is_coded, factor = dense.dense, (*block, inputs), len(block.codes) > 0, NOTHING[:0]
    else:
        panel = _VECTORS // vectors
        panels = -(-inputs // panel)
        panels = panels if kept(weight) >= rows * panels * _ENTRIES else 1
        sparse = made.packed(step).rows(panel if panels > 1 else 0)
        build, held, is_coded, factor = product, (*sparse[:4], panels, panel), len(sparse.codes) > 0, sparse.factor
        made.weights[step.name] = sparse
    activation, low, high = numbers_of(step.activation)
    bases = np.arange(rows, dtype=np.int32) // (rows // group) * inputs
    made.call(
        build, (vectors, is_coded, Epilogue(len(factor) > 0, step.adds, activation)), *held, bases,
        offsets.astype(np.int32), source, made.output(step.outputs[0]) if target is None else target,
        factor if len(factor) else NOTHING, np.zeros(rows, np.float32) if bias is None else array(bias),
        made.value(step.inputs[-1]) if step.adds else NOTHING, low, high, rows, blocks, batch, chunks, image,
        out.plane, out.channels * out.plane,
    )  # fmt: skip


@LOWER.register("InnerProduct")
def _inner_product(made: Lowering, step: Step) -> None:
    if step.adds or step.settings.axis != 1:
        raise NotNative(f"layer {step.name!r}: an inner product from axis {step.settings.axis} on")
    weight, bias = step.weights["weight"], step.weights.get("bias")
    if codes_pay(made.batch, weight):
        nibbles.inner_product(made, step)
        return
    outputs, inputs = weight.shape
    source, out = made.layout(step.inputs[0]), made.layout(step.outputs[0])
    offsets = source.offsets().reshape(-1).astype(np.int32)
    image = source.channels * source.plane
    if made.batch >= MANY:
        across = planes(outputs, 1, made.batch, made.batch, made.lanes)
        along = planes(inputs, 1, made.batch, made.batch, made.lanes)
        before, after = made.new(along.size(1)), made.new(across.size(1))
        made.call(
            columns.into_columns, (), offsets, made.value(step.inputs[0]), before, inputs, made.batch, image,
            along.plane,
        )  # fmt: skip
        starts = np.arange(inputs, dtype=np.int64) * along.plane
        _product(made, step, before, starts, 0, across, 1, after)
        made.call(
            columns.out_of_columns, (), after, made.output(step.outputs[0]), outputs, made.batch, across.plane,
            out.channels * out.plane,
        )  # fmt: skip
        return
    chunks = 1 if made.threads == 1 else min(4 * made.threads, outputs)
    held = made.weights[step.name] = made.packed(step).columns(chunks)
    lists = held.nbytes > _CACHE
    # columns of as many weights follow each other: then the processor foresees the end of each
    order = np.argsort(np.diff(held.starts[: inputs + 1]), kind="stable").astype(np.int32)
    activation, low, high = numbers_of(step.activation)
    made.call(
        columns.columns, (len(held.codes) > 0, lists, activation, len(held.factor) > 0), *held,
        made.new(made.threads * inputs) if lists else order, offsets, made.value(step.inputs[0]),
        made.output(step.outputs[0]), np.zeros(outputs, np.float32) if bias is None else array(bias), low, high,
        inputs, outputs, made.batch, chunks, image, out.channels * out.plane,
    )  # fmt: skip
