"""Lists of image files with a label each, as ImageData and convert_imageset read them."""

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
    """Reads ``<file name> <label>`` lines; the label, a whole number, is behind the last space of the line.

    Names may have spaces, and bytes that are not UTF-8. Empty lines do not count.

    Raises:
        DataError: the file is missing, empty, or has a line of another form; says which.
    """
    entries = []
    for number, line in enumerate(read_lines(path, "an image list"), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if not match:
            raise DataError(f"{path}:{number}: expected '<file name> <label>', found {line!r}")
        entries.append(ImageListEntry(match[1], int(match[2])))
    if not entries:
        raise DataError(f"{path}: names no image")
    return entries
