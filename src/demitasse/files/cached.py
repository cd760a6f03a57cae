"""Files of caches: written at once, and gone without harm."""

from __future__ import annotations

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
