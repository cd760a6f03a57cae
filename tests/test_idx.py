"""IDX files: plain or gzip, and every way they can be broken."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from demitasse.errors import FileFormatError
from demitasse.idx import read_idx

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "file").write_bytes(content)
    return tmp_path / "file"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_plain_and_gzip(tmp_path: Path, pack) -> None:
    np.testing.assert_array_equal(read_idx(write(tmp_path, pack(idx(IMAGES))), axes=3), IMAGES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "byte 0: not an IDX file of bytes with 3 axes"),
        (idx(IMAGES.ravel()), "found 00 00 08 01, expected 00 00 08 03"),
        (idx(IMAGES)[:10], "byte 10: the file is cut short in its header"),
        (idx(IMAGES)[:-1], r"sizes \[2, 3, 4\] need 24 bytes of values, found 23"),
        (idx(IMAGES) + b"x", "need 24 bytes of values, found more"),
        (struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3), "bytes of values, found fewer"),
        (gzip.compress(idx(IMAGES), mtime=0)[:-9], "cannot be read: Compressed file ended"),
        (b"\x1f\x8b" + b"rubbish" * 3, "cannot be read"),
    ],
    ids=["empty", "other axes", "cut header", "cut", "longer", "huge", "cut gzip", "not gzip"],
)
def test_broken_files(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        read_idx(write(tmp_path, content), axes=3)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"nowhere: cannot be read: .*No such file"):
        read_idx(tmp_path / "nowhere", axes=1)
