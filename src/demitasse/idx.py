"""IDX, the file format of MNIST: two zero bytes, the type, the number of axes, their sizes, the values."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demitasse.errors import FileFormatError

Array = NDArray[np.uint8]

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 8
_GREATEST_RATIO = 1032  # of deflate: no file holds more than this many times its own size


def read_idx(path: str | Path, axes: int) -> Array:
    """Reads a file of unsigned bytes, plain or compressed by gzip (recognized by its content).

    Args:
        path: the file.
        axes: the expected number of axes: 3 for images (n, height, width), 1 for labels (n,).

    Raises:
        FileFormatError: the file is missing, of another kind, cut short, or longer than its sizes say.
    """
    try:
        with Path(path).open("rb") as file:
            packed = file.read(2) == _GZIP_MAGIC
        with gzip.open(path) if packed else Path(path).open("rb") as stream:
            header = stream.read(4 + 4 * axes)
            expected = bytes([0, 0, _UNSIGNED_BYTE, axes])
            if header[:4] != expected:
                raise FileFormatError(
                    f"{path}: byte 0: not an IDX file of bytes with {axes} axes: "
                    f"found {header[:4].hex(' ')}, expected {expected.hex(' ')}"
                )
            if len(header) < 4 + 4 * axes:
                raise FileFormatError(f"{path}: byte {len(header)}: the file is cut short in its header")
            shape = struct.unpack(f">{axes}I", header[4:])
            count = math.prod(shape)
            fits = count <= _GREATEST_RATIO * Path(path).stat().st_size
            values = stream.read(count + 1) if fits else b""
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileFormatError(f"{path}: cannot be read: {reason}") from error
    if len(values) != count:
        found = "more" if len(values) > count else len(values) if fits else "fewer"
        raise FileFormatError(f"{path}: sizes {list(shape)} need {count} bytes of values, found {found}")
    return np.frombuffer(values, np.uint8).reshape(shape)
