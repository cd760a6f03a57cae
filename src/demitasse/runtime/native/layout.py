"""How values lie in memory: a plane for each channel, in whole vectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# vectors that a kernel may write behind the last one of a plane
SLACK = 3


class Layout(NamedTuple):
    """Images as planes: pixel (y, x) of channel c of image n is at ``(n * channels + c) * plane + y * row + x``.

    Attributes:
        channels: planes of an image.
        height: rows of a plane.
        width: pixels of a row.
        row: distance of two rows; what lies between them has no meaning.
        plane: distance of two planes, whole vectors.
    """

    channels: int
    height: int
    width: int
    row: int
    plane: int

    @property
    def span(self) -> int:
        """Positions from the first pixel of a plane to behind the last row."""
        return self.height * self.row

    def size(self, batch: int) -> int:
        """Returns the number of float32 values in memory."""
        return batch * self.channels * self.plane

    def offsets(self) -> npt.NDArray[np.int64]:
        """Returns where the pixels are, (channels, height, width)."""
        c, y, x = (np.arange(size, dtype=np.int64) for size in (self.channels, self.height, self.width))
        return c[:, None, None] * self.plane + y[:, None] * self.row + x


def planes(channels: int, height: int, width: int, row: int, lanes: int) -> Layout:
    """Returns the layout of images with rows at a distance."""
    vectors = -(-height * row // lanes)
    return Layout(channels, height, width, row, (vectors + SLACK) * lanes)


class Windows(NamedTuple):
    """Windows of a convolution or a pooling, (rows, columns) each."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    dilation: tuple[int, int]

    def is_pointwise(self) -> bool:
        """Tells whether every window is its own pixel."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and self.pad == (0, 0)


class Phases(NamedTuple):
    """Planes from which every window takes its values at the same distances from the window's place.

    A stride of 2 along both axes makes four planes of a channel: those of even and odd rows and columns. Rows share
    their margin: what pads one row on the right pads the next one on the left.

    Attributes:
        before: positions before the first window's place.
        row: distance of two rows, as in the output.
        plane: distance of two planes.
        number: planes of a channel.
        offsets: (kernel rows, kernel columns), the distance of each value of a window from its place, in a channel.
    """

    before: int
    row: int
    plane: int
    number: int
    offsets: npt.NDArray[np.int64]


def least_row(windows: Windows, width: int, out_width: int) -> int:
    """Returns the least distance of rows for windows over rows of a width that make rows of another."""
    kernel, stride, pad, dilation = (each[1] for each in windows)
    left = -(-pad // stride)
    right = ((kernel - 1) * dilation - pad) // stride
    return max(-(-width // stride) + left, out_width + right, out_width)


def phases(windows: Windows, out: Layout, lanes: int) -> Phases:
    """Returns the planes for windows of which each makes a pixel of the output."""
    steps = []
    for axis in range(2):
        kernel, stride, pad, dilation = (each[axis] for each in windows)
        place = np.arange(kernel) * dilation - pad
        steps.append((place // stride, place % stride))
    (rows, row_phases), (columns, column_phases) = steps
    before = max(0, -int(rows.min()) * out.row - int(columns.min()))
    before = -(-before // lanes) * lanes
    behind = max(0, int(rows.max()) * out.row + int(columns.max()))
    plane = -(-(before + out.plane + behind) // lanes) * lanes
    phase = row_phases[:, None] * windows.stride[1] + column_phases
    offsets = before + phase * plane + rows[:, None] * out.row + columns
    return Phases(before, out.row, plane, windows.stride[0] * windows.stride[1], offsets.astype(np.int64))
