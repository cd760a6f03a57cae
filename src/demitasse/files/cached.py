"""Files of caches: written at once, and gone without harm."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4


def write_cached(path: Path, data: bytes) -> None:
    """Writes a file atomically, since another process may read it, or write the same.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
    try:
        own.write_bytes(data)
        own.replace(path)
    finally:
        own.unlink(missing_ok=True)


def cache_folders(kind: str, beside: Path | None = None) -> Iterator[Path]:
    """Yields the folders in which a cache may lie, in the order in which they are tried.

    Args:
        kind: name of the folder in ``NUMBA_CACHE_DIR``, where loops are.
        beside: a file of the package beside which the cache may lie, too.
    """
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(given, kind)
    if beside is not None:
        yield beside.parent / "__pycache__"
    # without a home folder, the name keeps its ~
    own = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))
    if own.is_absolute():
        yield own / "demitasse"


def with_checksum(data: bytes) -> bytes:
    """Returns data in the form that :func:`checked` takes."""
    return hashlib.sha256(data).digest() + data


def checked(path: Path) -> memoryview | None:
    """Returns the data of a file of a cache, which may be changed; None if there is no such file, or it is damaged."""
    with suppress(OSError):
        with open(path, "rb") as file:
            stored = memoryview(bytearray(os.fstat(file.fileno()).st_size))
            file.readinto(stored)
        if hashlib.sha256(stored[32:]).digest() == stored[:32]:
            return stored[32:]
    return None
