"""Inner products from 4-bit codes of powers of two."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from demitasse.graph.graph import Step
from demitasse.runtime.native import coded, nibbles
from demitasse.runtime.native.lowering.base import NOTHING, Lowering, array_of, numbers_of


def inner_product(made: Lowering, step: Step, weight: npt.NDArray[np.float32]) -> None:
    """Adds the kernels of an inner product whose weight, (outputs, inputs), suits."""
    held = made.held(step, ("nibbles", made.lanes), lambda: nibbles.nibbles(weight, made.lanes))
    source, out = made.layout(step.inputs[0]), made.layout(step.outputs[0])
    groups, blocks, *_ = held.codes.shape
    width = blocks * nibbles.CODES * made.lanes
    inputs = made.new(made.batch * width)
    made.call(
        coded.gather, (), source.offsets().reshape(-1).astype(np.int32), made.value(step.inputs[0]), inputs,
        weight.shape[1], made.batch, source.channels * source.plane, width,
    )  # fmt: skip
    activation, low, high = numbers_of(step.activation)
    bias = step.weights.get("bias")
    made.call(
        coded.product, (made.batch, bias is not None, activation), *held, inputs, made.output(step.outputs[0]),
        NOTHING if bias is None else array_of(bias), low, high, len(weight), groups, blocks, width,
        out.channels * out.plane,
    )  # fmt: skip
