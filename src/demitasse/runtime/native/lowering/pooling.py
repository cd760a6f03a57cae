"""Pooling."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from demitasse.graph.graph import Step
from demitasse.runtime.native import moving, pooling
from demitasse.runtime.native.layout import Windows, least_row, planes
from demitasse.runtime.native.lowering.base import (
    LOWER,
    Lowering,
    NotNative,
    windows_of,
)
from demitasse.runtime.native.lowering.phases import into_phases, vectors_at_once


@LOWER.register("Pooling")
def _pooling(made: Lowering, step: Step) -> None:
    settings = step.settings
    if settings.method == "STOCHASTIC" or len(step.outputs) == 2:
        raise NotNative(f"layer {step.name!r}: a pooling with draws or places")
    windows = windows_of(step)
    assert windows is not None
    maximum, out = settings.method == "MAX", made.layout(step.outputs[0])
    smallest = float(np.finfo(np.float32).min)
    source, offsets, image = into_phases(made, step, windows, smallest if maximum else 0.0, out)
    one = offsets[0]
    plane = image // out.channels
    share = np.zeros(out.plane, np.float32)
    if not maximum:
        areas = [_counts(*axis) for axis in zip(settings.plane, *windows[:3], settings.sizes, strict=True)]
        share[: out.span].reshape(out.height, out.row)[:, : out.width] = 1 / np.outer(*areas)
    count = -(-out.span // made.lanes)
    vectors = min(vectors_at_once(count, made.machine), 4)
    made.call(
        pooling.pool, (vectors, maximum), one.reshape(-1).astype(np.int32), source, made.output(step.outputs[0]), share,
        one.size, made.batch * out.channels, -(-count // vectors), int(plane), out.plane,
    )  # fmt: skip


@LOWER.register("GlobalMean")
def _global_mean(made: Lowering, step: Step) -> None:
    source = made.layout(step.inputs[0])
    windows = Windows((source.height, source.width), (1, 1), (0, 0), (1, 1))
    row = least_row(windows, source.width, 1)
    out = planes(source.channels, 1, 1, row, made.lanes)
    found = made.new(out.size(made.batch))
    share = np.full(out.plane, 1 / (source.height * source.width), np.float32)
    offsets = source.offsets()[0].reshape(-1).astype(np.int32)
    made.call(
        pooling.pool, (1, False), offsets, made.value(step.inputs[0]), found, share, offsets.size,
        made.batch * source.channels, 1, source.plane, out.plane,
    )  # fmt: skip
    target = made.layout(step.outputs[0])
    flat = len(made.graph.values[step.outputs[0]].shape) == 2
    made.call(
        moving.rows, (), found, made.output(step.outputs[0]), made.batch * source.channels, out.plane, 1, 1, 1,
        1 if flat else target.plane, 1,
    )  # fmt: skip


def _counts(length: int, kernel: int, stride: int, pad: int, size: int) -> npt.NDArray[np.float32]:
    """Returns how many entries of the padded axis each window covers."""
    starts = np.arange(size) * stride - pad
    covered = np.maximum(np.minimum(starts + kernel, length + pad) - starts, 1)
    found: npt.NDArray[np.float32] = covered.astype(np.float32)
    return found
