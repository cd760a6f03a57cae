"""Windows of images: the file that lists them, and the geometry of their crops."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from demitasse.caffe.list_file import read_lines
from demitasse.errors import DataError

Table = NDArray[np.float64]


class WindowFile(NamedTuple):
    """The content of a window file.

    Attributes:
        images: the paths of the images, as written.
        windows: (n, 7): image, class, overlap, x1, y1, x2, y2; the corners are pixels inside the window.
    """

    images: list[str]
    windows: Table


def read_window_file(path: str | Path) -> WindowFile:
    """Reads a window file.

    It has, for each image, the lines ``# <number from 0>``, path, channels, height, width, number of windows, then
    ``class overlap x1 y1 x2 y2`` for each window. A path takes a whole line, and may contain spaces.

    Raises:
        DataError: the file is missing, empty, or malformed; the message has the number of the image.
    """
    words = list(_words(read_lines(path, "a window file")))
    images: list[str] = []
    tables: list[Table] = []
    at = 0
    while at < len(words):
        try:
            image, table = _image(words, at, len(images))
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}: image {len(images)}: not a window file: {error}") from error
        images.append(image)
        tables.append(table)
        at += 7 + 6 * len(table)
    if not images:
        raise DataError(f"{path}: the file contains no images")
    return WindowFile(images, np.concatenate(tables))


def _words(lines: list[str]) -> Iterator[str]:
    """Yields the words of the lines; a line that follows ``# <number>`` is one word."""
    is_path = False
    for line in filter(None, map(str.strip, lines)):
        words = [line] if is_path else line.split()
        yield from words
        is_path = not is_path and len(words) == 2 and words[0] == "#"


def _image(words: list[str], at: int, number: int) -> tuple[str, Table]:
    if words[at : at + 2] != ["#", str(number)]:
        raise ValueError(f"expected '# {number}', found {' '.join(words[at : at + 2])!r}")
    name, count = words[at + 2], int(words[at + 6])
    values = words[at + 7 : at + 7 + 6 * count]
    if count < 0 or len(values) != 6 * count:
        raise ValueError(f"{count} windows need {6 * count} numbers, found {len(values)}")
    rows = np.array(values, np.float64).reshape(count, 6)
    if not np.isfinite(rows).all():
        raise ValueError("a number is not finite")
    return name, np.insert(rows, 0, number, axis=1)


class Region(NamedTuple):
    """A rectangle of an image, and its place in the crop; all in pixels."""

    x1: int
    y1: int
    x2: int  # inclusive, as y2
    y2: int
    width: int
    height: int
    left: int = 0
    right: int = 0
    top: int = 0

    def offset(self, crop: int, mirror: bool) -> tuple[int, int, int, int]:
        """Returns top, left, height and width in the crop, mirrored if requested, and limited to the crop's size."""
        left = self.right if mirror else self.left
        return self.top, left, min(self.height, crop - self.top), min(self.width, crop - left)


class Framing(NamedTuple):
    """How windows become crops.

    Attributes:
        crop: height and width of the crop in pixels.
        pad: pixels of context on each side of the crop.
        square: whether windows are extended to squares before warping.
    """

    crop: int
    pad: int
    square: bool

    def region(self, x1: int, y1: int, x2: int, y2: int, width: int, height: int) -> Region:
        """Returns the region that a window shows of an image with the given width and height.

        As in R-CNN (Girshick and others 2014, supplement A), with Caffe's arithmetic: the window is enlarged about its
        centre so that after warping the context is ``pad`` pixels wide. Parts outside the image are dropped, and their
        place in the crop stays 0.

        Raises:
            DataError: the window does not overlap the image or, without context, reaches beyond it.
        """
        size = (width, height)
        if not self.pad and not self.square:
            if not (0 <= x1 <= x2 < width and 0 <= y1 <= y2 < height):
                raise DataError(f"window {[x1, y1, x2, y2]} reaches beyond the image of {width} x {height} pixels")
            return Region(x1, y1, x2, y2, self.crop, self.crop)
        halves = [np.float32(end - begin + 1) / np.float32(2) for begin, end in ((x1, x2), (y1, y2))]
        centres = [np.float32(begin) + half for begin, half in zip((x1, y1), halves, strict=True)]
        if self.square:
            halves = [max(halves)] * 2
        scale = np.float32(self.crop) / np.float32(self.crop - 2 * self.pad)
        sides = [
            _side(_round(centre - half * scale), _round(centre + half * scale), pixels, self.crop)
            for centre, half, pixels in zip(centres, halves, size, strict=True)
        ]
        if min(begin.kept for begin in sides) < 1:
            raise DataError(f"window {[x1, y1, x2, y2]} does not overlap the image of {width} x {height} pixels")
        across, down = sides
        return Region(
            *(across.begin, down.begin, across.end, down.end, across.kept, down.kept),
            *(across.before, across.behind, down.before),
        )


class _Side(NamedTuple):
    """One axis of a region: its first and last pixel, and in the crop the pixels kept, before and after them."""

    begin: int
    end: int
    kept: int
    before: int
    behind: int


def _side(begin: int, end: int, pixels: int, crop: int) -> _Side:
    before, behind = max(0, -begin), max(0, end - pixels + 1)
    scale = np.float32(crop) / np.float32(end - begin + 1)
    first, last = begin + before, end - behind
    lengths = (last - first + 1, before, behind)
    return _Side(first, last, *(_round(np.float32(length) * scale) for length in lengths))


def _round(value: np.float32) -> int:
    """Rounds to the nearest integer, halves away from 0."""
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))


def split_windows(file: WindowFile, foreground: float, background: float) -> Iterator[Table]:
    """Yields the table of background windows (overlap below ``background``, class set to 0), then that of objects.

    Raises:
        DataError: the window of an object has no class above 0.
    """
    overlaps = np.float32(file.windows[:, 2])
    is_object = overlaps >= np.float32(foreground)
    objects = file.windows[is_object]
    rest = file.windows[~is_object & (overlaps < np.float32(background))].copy()
    rest[:, 1] = 0
    if len(objects) and objects[:, 1].min() < 1:
        raise DataError(
            f"a window with overlap {foreground} or more has class {int(objects[:, 1].min())}; expected a class above 0"
        )
    yield rest
    yield objects
