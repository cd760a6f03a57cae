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


class Copy(NamedTuple):
    """Some pixels of a plane: those of every stride-th row and column, from a first one on.

    Attributes:
        top: the first row.
        left: the first column.
        shift: positions by which it is moved to the left.
    """

    top: int
    left: int
    shift: int


class Phases(NamedTuple):
    """Planes from which every window takes its values at the same distances from the window's place.

    A stride of 2 along both axes makes up to four copies of a channel: those of even and odd rows and columns. Rows
    share their margin: what pads one row on the right pads the next one on the left.

    Attributes:
        before: positions before the first window's place.
        row: distance of two rows, as in the output.
        plane: distance of two copies.
        copies: those of a channel.
        offsets: (kernel rows, kernel columns), the distance of each value of a window from its place, in a channel.
    """

    before: int
    row: int
    plane: int
    copies: list[Copy]
    offsets: npt.NDArray[np.int64]


def least_row(windows: Windows, width: int, out_width: int) -> int:
    """Returns the least distance of rows for windows over rows of a width that make rows of another."""
    kernel, stride, pad, dilation = (each[1] for each in windows)
    left = -(-pad // stride)
    right = ((kernel - 1) * dilation - pad) // stride
    return max(-(-width // stride) + left, out_width + right, out_width)


def phases(windows: Windows, out: Layout, lanes: int, aligned: bool = False) -> Phases:
    """Returns the planes for windows of which each makes a pixel of the output.

    Args:
        windows: the windows.
        out: where the output lies.
        lanes: float32 values of a vector.
        aligned: whether each value has a distance of whole vectors, for which there are more copies: a vector that
            crosses the lines of the cache takes twice as long to load.
    """
    steps = []
    for axis in range(2):
        kernel, stride, pad, dilation = (each[axis] for each in windows)
        place = np.arange(kernel) * dilation - pad
        steps.append((place // stride, place % stride))
    (rows, tops), (columns, lefts) = steps
    distance = rows[:, None] * out.row + columns
    shift = distance % lanes if aligned else np.zeros_like(distance)
    keys = [Copy(int(top), int(left), int(shift[y, x])) for y, top in enumerate(tops) for x, left in enumerate(lefts)]
    copies = sorted(set(keys))
    before = max(0, -int((distance - shift).min()), int(shift.max()))
    before = -(-before // lanes) * lanes
    plane = (-(-(before + out.plane + max(0, int(distance.max()))) // lanes) + 2) * lanes
    index = np.array([copies.index(key) for key in keys], np.int64).reshape(distance.shape)
    return Phases(before, out.row, plane, copies, before + index * plane + distance - shift)


def shifts(windows: Windows, row: int, lanes: int) -> int:
    """Returns how many copies of a channel windows need to be aligned, over rows at a distance."""
    return len(phases(windows, Layout(1, 1, 1, row, row), lanes, True).copies)
