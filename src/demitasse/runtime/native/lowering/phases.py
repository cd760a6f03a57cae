"""The phases of a step's input, and how planes are cut into blocks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from demitasse.graph.graph import Step
from demitasse.runtime.native import moving
from demitasse.runtime.native.layout import Layout, Windows, phases
from demitasse.runtime.native.llvm import Machine
from demitasse.runtime.native.lowering.base import Lowering, Piece


def vectors_at_once(count: int, machine: Machine, rows: int = 1) -> int:
    """Returns of how many vectors a plane is computed at once, so that the least is computed in vain.

    Args:
        count: vectors of a plane.
        machine: what it is computed on.
        rows: planes of the output that are computed at once.
    """
    most = min(8, (machine.registers - 1) // (rows + 1))
    blocks = {width: -(-count // width) for width in range(1, most + 1)}
    allowed = [width for width, number in blocks.items() if number * width <= count + 3]
    return min(allowed, key=lambda width: (blocks[width] * (width + 1.4), -width))


def into_phases(
    made: Lowering, step: Step, windows: Windows, fill: float, out: Layout, aligned: bool = False
) -> tuple[Piece, npt.NDArray[np.int64], int]:
    """Returns the phases of the input, the offsets by channel, kernel row and column, and the size of an image."""
    number = step.inputs[0]
    source = made.layout(number)
    if windows.is_pointwise() and source.row == out.row:
        offsets = np.arange(source.channels, dtype=np.int64)[:, None, None] * source.plane
        return made.value(number), offsets, source.channels * source.plane
    found = phases(windows, out, made.lanes, aligned)
    image = source.channels * len(found.copies) * found.plane
    key = number, windows.stride, fill, found.before, found.row, found.plane, *found.copies
    piece, is_new = made.shared(key, made.batch * image)
    if is_new:
        tops, lefts, shifts = (np.array(each, np.int32) for each in zip(*found.copies, strict=True))
        made.call(
            moving.into_phases, (), tops, lefts, shifts, made.value(number), piece, fill,
            made.batch * source.channels, source.plane, source.row, source.height, source.width, found.plane,
            found.before, found.row, (found.plane - found.before - 2 * made.lanes) // found.row, *windows.stride,
            len(found.copies),
        )  # fmt: skip
    channels = np.arange(source.channels, dtype=np.int64)[:, None, None] * (len(found.copies) * found.plane)
    return piece, channels + found.offsets, image
