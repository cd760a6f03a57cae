"""The phases of a step's input, and how planes are cut into blocks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from demitasse.graph.graph import Step
from demitasse.runtime.native import moving
from demitasse.runtime.native.layout import Windows, phases
from demitasse.runtime.native.llvm import Machine
from demitasse.runtime.native.lowering.base import (
    Lowering,
    Piece,
)


def vectors_at_once(count: int, machine: Machine) -> int:
    """Returns of how many vectors a plane is computed at once, so that the least is computed in vain."""
    most = 8 if machine.registers >= 32 else 6
    blocks = {width: -(-count // width) for width in range(1, most + 1)}
    allowed = [width for width, number in blocks.items() if number * width <= count + 3]
    return min(allowed, key=lambda width: (blocks[width] * (width + 1.4), -width))


def into_phases(made: Lowering, step: Step, windows: Windows, fill: float) -> tuple[Piece, npt.NDArray[np.int64], int]:
    """Returns the phases of the input, the offsets by channel, kernel row and column, and the size of an image."""
    source, out = made.layout(step.inputs[0]), made.layout(step.outputs[0])
    if windows.is_pointwise():
        offsets = np.arange(source.channels, dtype=np.int64)[:, None, None] * source.plane
        return made.value(step.inputs[0]), offsets, source.channels * source.plane
    made_phases = phases(windows, out, made.lanes)
    image = source.channels * made_phases.number * made_phases.plane
    piece = made.new(made.batch * image)
    rows = (made_phases.plane - made_phases.before) // made_phases.row
    made.call(
        moving.into_phases, (), made.value(step.inputs[0]), piece, fill, made.batch * source.channels, source.plane,
        source.row, source.height, source.width, made_phases.plane, made_phases.before, made_phases.row, rows,
        windows.stride[0], windows.stride[1], made_phases.number,
    )  # fmt: skip
    channels = np.arange(source.channels, dtype=np.int64)[:, None, None] * (made_phases.number * made_phases.plane)
    return piece, channels + made_phases.offsets, image
