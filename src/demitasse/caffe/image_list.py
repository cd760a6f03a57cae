"""Lists of image files with a label each, as ImageData and convert_imageset read them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from demitasse.errors import DataError

_LINE = re.compile(r"(.+?)\s+(-?\d{1,9})")


class Entry(NamedTuple):
    """A line of an image list."""

    name: str
    label: int


def read_image_list(path: str | Path) -> list[Entry]:
    """Reads ``<file name> <label>`` lines, labels whole numbers; names may have spaces, empty lines do not count.

    Raises:
        DataError: the file is missing, empty, or has a line of another form; says which.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not an image list: {error}") from None
    entries = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if not match:
            raise DataError(f"{path}:{number}: expected '<file name> <label>', found {line!r}")
        entries.append(Entry(match[1], int(match[2])))
    if not entries:
        raise DataError(f"{path}: names no image")
    return entries
