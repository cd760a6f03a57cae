"""What is computed position by position: sums, activations, norms, softmax."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from demitasse.graph.graph import Activation, Step
from demitasse.graph.passes.fold import affine_of
from demitasse.graph.passes.fuse import activation_of
from demitasse.graph.weights import array
from demitasse.runtime.native import pointwise
from demitasse.runtime.native.lowering.base import (
    LOWER,
    NOTHING,
    Lowering,
    NotNative,
    numbers_of,
)


@LOWER.register("Eltwise")
def _eltwise(made: Lowering, step: Step) -> None:
    factors = list(step.settings.coeff) or [1.0] * len(step.inputs)
    before = made.value(step.inputs[0])
    layout = made.layout(step.outputs[0])
    target = made.output(step.outputs[0])
    first = factors[0]
    for number, factor in zip(step.inputs[1:], factors[1:], strict=True):
        made.call(
            pointwise.combine, (step.settings.operation,), before, made.value(number), target, float(first),
            float(factor), -(-layout.size(made.batch) // made.lanes),
        )  # fmt: skip
        before, first = target, 1.0


@LOWER.register("ReLU", "Clip")
def _activation(made: Lowering, step: Step) -> None:
    _affine(made, step, activation_of(step), None)


@LOWER.register("BatchNorm", "Scale", "Bias")
def _normalization(made: Lowering, step: Step) -> None:
    found = affine_of(step, made.graph.values[step.inputs[0]].shape)
    if found is None:
        raise NotNative(f"layer {step.name!r} of type {step.kind}: not by channel alone")
    _affine(made, step, None, (array(found.factor), array(found.summand)))


def _affine(
    made: Lowering, step: Step, activation: Activation | None,
    numbers: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None,
) -> None:  # fmt: skip
    layout = made.layout(step.outputs[0])
    kind, low, high = numbers_of(activation)
    channels, plane = layout.channels, layout.plane
    if numbers and len(made.graph.values[step.outputs[0]].shape) == 2:
        raise NotNative(f"layer {step.name!r}: a scale of rows")
    factor, summand = numbers or (NOTHING, NOTHING)
    made.call(
        pointwise.affine, (numbers is not None, kind), made.value(step.inputs[0]), made.output(step.outputs[0]), factor,
        summand, low, high, made.batch * channels, channels, plane,
    )  # fmt: skip


@LOWER.register("LRN")
def _response(made: Lowering, step: Step) -> None:
    settings, layout = step.settings, made.layout(step.outputs[0])
    if not settings.across:
        raise NotNative(f"layer {step.name!r}: local response normalization within channels")
    made.call(
        pointwise.response, (settings.beta == 0.75,), made.value(step.inputs[0]), made.output(step.outputs[0]),
        settings.alpha / settings.size, float(settings.k), float(settings.beta), made.batch, layout.channels,
        layout.plane, settings.size // 2,
    )  # fmt: skip


@LOWER.register("Softmax")
def _softmax(made: Lowering, step: Step) -> None:
    layout, value = made.layout(step.outputs[0]), made.graph.values[step.outputs[0]]
    if step.settings.axis != 1:
        raise NotNative(f"layer {step.name!r}: a softmax along axis {step.settings.axis}")
    image = layout.channels * layout.plane
    flat = len(value.shape) == 2
    channels, plane = (layout.width, 1) if flat else (layout.channels, layout.plane)
    made.call(
        pointwise.softmax, (), made.value(step.inputs[0]), made.output(step.outputs[0]), made.batch,
        1 if flat else layout.span, channels, image, plane,
    )  # fmt: skip
