"""Convolutions and inner products."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from demitasse.graph.graph import Step
from demitasse.graph.products import is_convolution
from demitasse.graph.weights import array, packed
from demitasse.packed.sparse import SparseRows
from demitasse.packed.weight import PackedWeight
from demitasse.runtime.cost import MANY
from demitasse.runtime.native import columns
from demitasse.runtime.native.layout import Layout, planes
from demitasse.runtime.native.lowering.base import (
    LOWER,
    NOTHING,
    Lowering,
    NotNative,
    Piece,
    numbers_of,
    windows_of,
)
from demitasse.runtime.native.lowering.phases import into_phases, vectors_at_once
from demitasse.runtime.native.product import Epilogue, product


@LOWER.register("Convolution")
def _convolution(made: Lowering, step: Step) -> None:
    windows = windows_of(step)
    if windows is None or not is_convolution(step):
        raise NotNative(f"layer {step.name!r}: a convolution over other than two axes")
    rows, out = _packed(made, step).rows(step.settings.group), made.layout(step.outputs[0])
    source, offsets, image = into_phases(made, step, windows, 0.0)
    _product(made, step, rows, source, offsets.reshape(-1), image, out)


def _packed(made: Lowering, step: Step) -> PackedWeight:
    return made.held(step, (), lambda: packed(step.weights["weight"]))


def _product(
    made: Lowering, step: Step, held: SparseRows, source: Piece, offsets: npt.NDArray[np.int64],
    image: int, out: Layout, batch: int | None = None, target: Piece | None = None,
) -> None:  # fmt: skip
    rows = len(held.starts) - 1
    batch = made.batch if batch is None else batch
    count = -(-out.span // made.lanes)
    vectors = vectors_at_once(count, made.machine)
    blocks = -(-count // vectors)
    activation, low, high = numbers_of(step.activation)
    bias = step.weights.get("bias")
    epilogue = Epilogue(bias is not None, step.adds, activation, len(held.factor) > 0)
    summand = made.value(step.inputs[-1]) if step.adds else NOTHING
    chunks = 1 if made.threads == 1 else -(-4 * made.threads // (blocks * batch))
    made.call(
        product, (vectors, len(held.codes) > 0, epilogue), *held, offsets.astype(np.int32), source,
        made.output(step.outputs[0]) if target is None else target, NOTHING if bias is None else array(bias),
        summand, low, high, rows, blocks, batch, min(chunks, rows), image, out.plane,
        out.channels * out.plane,
    )  # fmt: skip


@LOWER.register("InnerProduct")
def _inner_product(made: Lowering, step: Step) -> None:
    if step.adds or step.settings.axis != 1:
        raise NotNative(f"layer {step.name!r}: an inner product from axis {step.settings.axis} on")
    weight = _packed(made, step)
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
        _product(made, step, weight.rows(), before, starts, 0, across, 1, after)
        made.call(
            columns.out_of_columns, (), after, made.output(step.outputs[0]), outputs, made.batch, across.plane,
            out.channels * out.plane,
        )  # fmt: skip
        return
    chunks = 1 if made.threads == 1 else min(4 * made.threads, outputs)
    held = weight.columns(chunks)
    activation, low, high = numbers_of(step.activation)
    bias = step.weights.get("bias")
    made.call(
        columns.columns, (len(held.codes) > 0, bias is not None, activation, len(held.factor) > 0), *held, offsets,
        made.value(step.inputs[0]), made.output(step.outputs[0]), NOTHING if bias is None else array(bias),
        low, high, inputs, outputs, made.batch, chunks, image, out.channels * out.plane,
    )  # fmt: skip
