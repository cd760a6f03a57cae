"""Inner products from 4-bit codes of powers of two."""

from __future__ import annotations

import numpy as np

from demitasse.graph.graph import Step
from demitasse.graph.weights import array
from demitasse.runtime.native import coded, nibbles
from demitasse.runtime.native.lowering.base import NOTHING, Lowering, numbers_of


def inner_product(made: Lowering, step: Step) -> None:
    """Adds the kernels of an inner product whose weight, (outputs, inputs), suits."""
    weight = step.weights["weight"]
    held = made.held(step, ("nibbles", made.lanes), lambda: nibbles.nibbles(array(weight), made.lanes))
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
        NOTHING if bias is None else array(bias), low, high, weight.shape[0], groups, blocks, width,
        out.channels * out.plane,
    )  # fmt: skip
