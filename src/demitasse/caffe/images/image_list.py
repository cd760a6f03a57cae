"""Lists of image files with labels, which ImageData and convert_imageset read."""

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
