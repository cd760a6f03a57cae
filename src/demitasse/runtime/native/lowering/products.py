"""Convolutions and inner products."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from demitasse.graph.graph import Step
from demitasse.graph.products import is_convolution
from demitasse.runtime.cost import MANY, codes_pay
from demitasse.runtime.native import columns, dense, moving
from demitasse.runtime.native.layout import Layout, Windows, planes, shifts
from demitasse.runtime.native.lowering import nibbles
from demitasse.runtime.native.lowering.base import (
    LOWER,
    NOTHING,
    Lowering,
    NotNative,
    Piece,
    array_of,
    numbers_of,
    windows_of,
)
from demitasse.runtime.native.lowering.phases import into_phases, vectors_at_once
from demitasse.runtime.native.nibbles import suits
from demitasse.runtime.native.product import Epilogue, product
from demitasse.runtime.native.program import Argument
from demitasse.runtime.native.sparse import in_panels

# share of weights that are not zero from which dense rows are faster
DENSE_FROM = 0.5
# how much wider rows may be to be whole vectors, and weights that see a channel for which a copy of it pays
_WIDER, _COPY = 1.2, 4
# vectors that stay in the first cache, beside the sums
_VECTORS = 512
# bytes of weights that stay in the cache
_CACHE = 1 << 19


class Matrix(NamedTuple):
    """The weights of a step as a matrix.

    Attributes:
        values: (rows, columns of a group).
        groups: of rows, which see different columns.
    """

    values: npt.NDArray[np.float32]
    groups: int = 1

    @property
    def is_dense(self) -> bool:
        """Whether dense rows are faster."""
        rows = len(self.values) // self.groups
        suits = self.groups == 1 or rows % dense.GROUP == 0
        return suits and bool(np.count_nonzero(self.values) > DENSE_FROM * self.values.size)

    def bases(self) -> npt.NDArray[np.int32]:
        """Returns the first column that each row sees."""
        group = np.arange(len(self.values)) // (len(self.values) // self.groups)
        found: npt.NDArray[np.int32] = (group * self.values.shape[1]).astype(np.int32)
        return found


@LOWER.register("Convolution")
def _convolution(made: Lowering, step: Step) -> None:
    windows = windows_of(step)
    if windows is None or not is_convolution(step):
        raise NotNative(f"layer {step.name!r}: a convolution over other than two axes")
    weight, out = array_of(step.weights["weight"]), made.layout(step.outputs[0])
    matrix = Matrix(weight.reshape(len(weight), -1), step.settings.group)
    row = _aligned_row(made, step, matrix, windows, out)
    if row == 0:
        source, offsets, image = into_phases(made, step, windows, 0.0, out)
        _product(made, step, matrix, source, offsets.reshape(-1), image, out, made.batch)
        return
    wide = planes(out.channels, out.height, out.width, row, made.lanes)
    source, offsets, image = into_phases(made, step, windows, 0.0, wide, True)
    if row == out.row:
        _product(made, step, matrix, source, offsets.reshape(-1), image, out, made.batch)
        return
    target = made.new(wide.size(made.batch))
    _product(made, step, matrix, source, offsets.reshape(-1), image, wide, made.batch, target)
    made.call(
        moving.rows, (), target, made.output(step.outputs[0]), made.batch * out.channels, wide.plane, wide.row,
        out.height, out.width, out.plane, out.row,
    )  # fmt: skip


def _aligned_row(made: Lowering, step: Step, matrix: Matrix, windows: Windows, out: Layout) -> int:
    """Returns the distance of rows with which vectors do not cross the lines of the cache; 0 where it does not pay."""
    if windows.kernel == (1, 1) or matrix.is_dense:
        return 0
    source = made.layout(step.inputs[0])
    seen = np.count_nonzero(matrix.values) / source.channels  # weights that see a channel
    whole = -(-out.row // made.lanes) * made.lanes
    for row in (out.row, whole):
        copies = shifts(windows, row, made.lanes)
        fits = row == out.row or (not step.adds and row <= _WIDER * out.row)
        if fits and copies * _COPY <= seen:
            return row
    return 0


def _product(
    made: Lowering, step: Step, matrix: Matrix, source: Piece, offsets: npt.NDArray[np.int64], image: int, out: Layout,
    batch: int, target: Piece | None = None,
) -> None:  # fmt: skip
    rows, is_dense = len(matrix.values), matrix.is_dense
    activation, low, high = numbers_of(step.activation)
    count = -(-out.span // made.lanes)
    vectors = vectors_at_once(count, made.machine, dense.GROUP if is_dense else 1)
    blocks = -(-count // vectors)
    bias = step.weights.get("bias")
    summand = made.value(step.inputs[-1]) if step.adds else NOTHING
    target = made.output(step.outputs[0]) if target is None else target
    chunks = 1 if made.threads == 1 else min(-(-4 * made.threads // (blocks * batch)), rows)
    build: Callable[..., ir.Module]
    if is_dense:
        block = made.held(step, ("dense",), lambda: dense.dense_rows(matrix.values))
        build, factor = dense.dense, NOTHING[:0]
        held: tuple[Argument, ...] = (block.codes, block.values, matrix.values.shape[1])
        codes = block.codes
    else:
        panel = _VECTORS // vectors
        sparse = made.held(step, ("rows", panel), lambda: in_panels(matrix.values, panel))
        panels = -(-matrix.values.shape[1] // sparse.panel) if sparse.panel else 1
        build, factor, codes = product, sparse.factor, sparse.codes
        held = (sparse.starts, sparse.gaps, codes, sparse.values, panels, sparse.panel)
    made.call(
        build, (vectors, len(codes) > 0, Epilogue(len(factor) > 0, step.adds, activation)), *held, matrix.bases(),
        offsets.astype(np.int32), source, target, factor if len(factor) else NOTHING,
        np.zeros(rows, np.float32) if bias is None else array_of(bias), summand, low, high, rows, blocks, batch,
        chunks, image, out.plane, out.channels * out.plane,
    )  # fmt: skip


@LOWER.register("InnerProduct")
def _inner_product(made: Lowering, step: Step) -> None:
    if step.adds or step.settings.axis != 1:
        raise NotNative(f"layer {step.name!r}: an inner product from axis {step.settings.axis} on")
    weight = array_of(step.weights["weight"])
    if codes_pay(made.batch, int(np.count_nonzero(weight)), weight.size) and suits(weight):
        nibbles.inner_product(made, step, weight)
        return
    source, out = made.layout(step.inputs[0]), made.layout(step.outputs[0])
    offsets = source.offsets().reshape(-1).astype(np.int32)
    image = source.channels * source.plane
    if made.batch >= MANY:
        across = planes(len(weight), 1, made.batch, made.batch, made.lanes)
        inputs = planes(weight.shape[1], 1, made.batch, made.batch, made.lanes)
        before, after = made.new(inputs.size(1)), made.new(across.size(1))
        made.call(
            columns.into_columns, (), offsets, made.value(step.inputs[0]), before, weight.shape[1], made.batch, image,
            inputs.plane,
        )  # fmt: skip
        starts = np.arange(weight.shape[1], dtype=np.int64) * inputs.plane
        _product(made, step, Matrix(weight), before, starts, 0, across, 1, after)
        made.call(
            columns.out_of_columns, (), after, made.output(step.outputs[0]), len(weight), made.batch, across.plane,
            out.channels * out.plane,
        )  # fmt: skip
        return
    chunks = 1 if made.threads == 1 else min(4 * made.threads, len(weight))
    held, order = made.held(step, (chunks,), lambda: columns.sparse_columns(weight, chunks))
    activation, low, high = numbers_of(step.activation)
    bias = step.weights.get("bias")
    options = len(held.codes) > 0, bias is not None, held.nbytes > _CACHE, activation
    made.call(
        columns.columns, options, *held[:4], offsets[order], made.value(step.inputs[0]), made.output(step.outputs[0]),
        NOTHING if bias is None else array_of(bias), made.new(made.threads * weight.shape[1]), low, high,
        weight.shape[1], len(weight), made.batch, chunks, image, out.channels * out.plane,
    )  # fmt: skip
