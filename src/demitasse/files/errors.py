"""One error for all that keeps a file from being written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demitasse.errors import DemitasseError, UsageError, WriteError


def check_name(path: str | Path) -> None:
    """Raises UsageError for a path that no file can have."""
    try:
        possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise UsageError(f"{os.fspath(path)!r} is not a possible name of a file")


@contextmanager
def writing(path: str | Path, safe: str = "") -> Iterator[None]:
    """Turns what the system raises in the block into an error that names the file.

    Args:
        path: of the file, as the user gave it.
        safe: what the failure leaves as it was, for the message.

    Raises:
        WriteError: the block raised OSError.
    """
    try:
        yield
    except DemitasseError:
        raise
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        folder = Path(path).parent
        if isinstance(error, FileNotFoundError) and not folder.exists():
            reason = f"there is no folder {os.fspath(folder)!r}"
        raise WriteError(f"{path}: cannot be written: {reason}{safe and f'; {safe}'}") from error
