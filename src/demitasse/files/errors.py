"""One error for all that keeps a file from being written."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from demitasse.errors import DemitasseError, FileFormatError, UsageError, WriteError


def check_name(path: str | PathLike[str]) -> None:
    """Raises UsageError for a path that no file can have."""
    try:
        possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        possible = False
    if not os.fspath(path):
        raise UsageError("the path is empty; expected the name of a file")
    if not possible:
        raise UsageError(f"{os.fspath(path)!r} is not a possible name of a file")


def check_readable(path: str | PathLike[str]) -> None:
    """Raises where what is at a path is known not to be a file that can be read; one that is missing passes.

    Raises:
        UsageError: the path is none that a file can have.
        FileFormatError: a folder, a pipe or a device is there, or links that lead to nothing.
    """
    check_name(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:  # also links in a circle
        raise FileFormatError(f"{os.fspath(path)}: cannot be read: {error.strerror or error}") from error
    if stat.S_ISDIR(mode):
        raise FileFormatError(f"{os.fspath(path)}: is a folder; expected a file")
    if not stat.S_ISREG(mode):
        raise FileFormatError(
            f"{os.fspath(path)}: is a pipe or a device, which has no places to read at; expected a file, or its bytes"
        )


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
