"""Lists of image files with labels or with label images, which data layers and convert_imageset read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from demitasse.caffe.list_file import read_lines
from demitasse.errors import DataError

_LINE = re.compile(r"(.+?)\s+(-?\d{1,9})")


class ImageListEntry(NamedTuple):
    """A line of an image list."""

    name: str
    label: int


def read_image_list(path: str | Path) -> list[ImageListEntry]:
    """Reads ``<file name> <label>`` lines; the label is the whole number after the last space.

    Names may contain spaces, and bytes that are not UTF-8. Empty lines are skipped.

    Raises:
        DataError: the file is missing, empty, or has a malformed line; the message has its number.
    """
    return [entry for _, entry in numbered_image_list(path)]


def numbered_image_list(path: str | Path) -> list[tuple[int, ImageListEntry]]:
    """Reads a list with the number of each line, from 1; see :func:`read_image_list`.

    Raises:
        DataError: as for :func:`read_image_list`.
    """
    entries = []
    for number, line in enumerate(read_lines(path, "an image list"), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if not match:
            raise DataError(f"{path}:{number}: expected '<file name> <label>', found {line!r}")
        entries.append((number, ImageListEntry(match[1], int(match[2]))))
    if not entries:
        raise DataError(f"{path}: the list contains no images")
    return entries


class ImagePair(NamedTuple):
    """A line of a list for segmentation.

    Attributes:
        image: the name of the image file.
        label: the second word of its line, the name of a label image or a class; empty if there is none.
    """

    image: str
    label: str


def read_pair_list(path: str | Path, labelled: bool = True) -> list[ImagePair]:
    """Reads ``<image file> <label>`` lines; neither may contain spaces. Empty lines are skipped.

    Args:
        path: the list.
        labelled: whether each line must have a label; if not, none is read.

    Raises:
        DataError: the file is missing, empty, or has a malformed line; the message has its number.
    """
    pairs = []
    for number, line in enumerate(read_lines(path, "an image list"), start=1):
        words = line.split()
        if not words:
            continue
        if labelled and len(words) != 2:
            raise DataError(f"{path}:{number}: expected '<image file> <label>', found {line!r}")
        pairs.append(ImagePair(words[0], words[1] if labelled else ""))
    if not pairs:
        raise DataError(f"{path}: the list contains no images")
    return pairs
