"""Convolutions and inner products."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from demitasse.graph.graph import Step
from demitasse.graph.products import is_convolution
from demitasse.runtime.cost import MANY, codes_pay
from demitasse.runtime.native import columns
from demitasse.runtime.native.layout import Layout, planes
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
from demitasse.runtime.native.product import Epilogue, product, sparse_rows


@LOWER.register("Convolution")
def _convolution(made: Lowering, step: Step) -> None:
    windows = windows_of(step)
    if windows is None or not is_convolution(step):
        raise NotNative(f"layer {step.name!r}: a convolution over other than two axes")
    weight, out = array_of(step.weights["weight"]), made.layout(step.outputs[0])
    source, offsets, image = into_phases(made, step, windows, 0.0)
    _product(made, step, _ungrouped(weight, step.settings.group), source, offsets.reshape(-1), image, out)


def _ungrouped(weight: npt.NDArray[np.float32], groups: int) -> npt.NDArray[np.float32]:
    """Returns the weight over all channels, (outputs, channels * kernel)."""
    rows: npt.NDArray[np.float32] = weight.reshape(groups, len(weight) // groups, -1)
    if groups == 1:
        return weight.reshape(len(weight), -1)
    whole = np.zeros((groups, rows.shape[1], groups, rows.shape[2]), np.float32)
    for group in range(groups):
        whole[group, :, group] = rows[group]
    flat: npt.NDArray[np.float32] = whole.reshape(len(weight), -1)
    return flat


def _product(
    made: Lowering, step: Step, matrix: npt.NDArray[np.float32], source: Piece, offsets: npt.NDArray[np.int64],
    image: int, out: Layout, batch: int | None = None, target: Piece | None = None,
) -> None:  # fmt: skip
    held = made.held(step, (), lambda: sparse_rows(matrix))
    batch = made.batch if batch is None else batch
    count = -(-out.span // made.lanes)
    vectors = vectors_at_once(count, made.machine)
    blocks = -(-count // vectors)
    activation, low, high = numbers_of(step.activation)
    bias = step.weights.get("bias")
    epilogue = Epilogue(bias is not None, step.adds, activation)
    summand = made.value(step.inputs[-1]) if step.adds else NOTHING
    chunks = 1 if made.threads == 1 else -(-4 * made.threads // (blocks * batch))
    made.call(
        product, (vectors, len(held.codes) > 0, epilogue), *held, offsets.astype(np.int32), source,
        made.output(step.outputs[0]) if target is None else target, NOTHING if bias is None else array_of(bias),
        summand, low, high, len(matrix), blocks, batch, min(chunks, len(matrix)), image, out.plane,
        out.channels * out.plane,
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
        _product(made, step, weight, before, starts, 0, across, 1, after)
        made.call(
            columns.out_of_columns, (), after, made.output(step.outputs[0]), len(weight), made.batch, across.plane,
            out.channels * out.plane,
        )  # fmt: skip
        return
    chunks = 1 if made.threads == 1 else min(4 * made.threads, len(weight))
    held = made.held(step, (chunks,), lambda: columns.sparse_columns(weight, chunks))
    activation, low, high = numbers_of(step.activation)
    bias = step.weights.get("bias")
    made.call(
        columns.columns, (len(held.codes) > 0, bias is not None, activation), *held, offsets,
        made.value(step.inputs[0]), made.output(step.outputs[0]), NOTHING if bias is None else array_of(bias),
        low, high, weight.shape[1], len(weight), made.batch, chunks, image, out.channels * out.plane,
    )  # fmt: skip
