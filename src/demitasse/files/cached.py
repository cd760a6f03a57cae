"""Files of caches: written at once, and gone without harm."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from typing_extensions import Buffer

_CHECKSUM = 32


def write_cached(path: Path, *parts: Buffer) -> None:
    """Writes a file atomically, since another process may read it, or write the same.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
    try:
        with open(own, "wb") as file:
            file.writelines(parts)
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


def checksum_of(parts: Iterable[Buffer]) -> bytes:
    """Returns the SHA-256 sum of some bytes, which :func:`checked` expects at the end of a file."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.digest()


def checked(path: Path) -> memoryview | None:
    """Returns the data of a file before its checksum, which may be changed; None if it is missing or damaged."""
    with suppress(OSError), open(path, "rb") as file:
        stored = memoryview(bytearray(os.fstat(file.fileno()).st_size))
        file.readinto(stored)
        data, checksum = stored[:-_CHECKSUM], stored[-_CHECKSUM:]
        if checksum_of([data]) == checksum:
            return data
    return None
