"""Concatenations and other shapes."""

from __future__ import annotations

from demitasse.graph.graph import Step
from demitasse.runtime.native import moving
from demitasse.runtime.native.lowering.base import (
    LOWER,
    Lowering,
    NotNative,
)


@LOWER.register("Concat")
def _concat(made: Lowering, step: Step) -> None:
    out = made.layout(step.outputs[0])
    if step.settings.axis != 1 or len(made.graph.values[step.outputs[0]].shape) != 4:
        raise NotNative(f"layer {step.name!r}: a concatenation of other than channels")
    target, before = made.output(step.outputs[0]), 0
    for number in step.inputs:
        size = made.layout(number).channels * out.plane
        made.call(moving.part, (), made.value(number), target, before, made.batch, size, size, out.channels * out.plane)
        before += size


@LOWER.register("Flatten", "Reshape")
def _flatten(made: Lowering, step: Step) -> None:
    source, out = made.layout(step.inputs[0]), made.graph.values[step.outputs[0]].shape
    if len(out) != 2:
        raise NotNative(f"layer {step.name!r}: a shape of {len(out)} axes")
    made.call(
        moving.rows, (), made.value(step.inputs[0]), made.output(step.outputs[0]), made.batch * source.channels,
        source.plane, source.row, source.height, source.width, source.height * source.width, source.width,
    )  # fmt: skip
