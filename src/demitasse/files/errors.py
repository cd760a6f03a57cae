"""Checks of paths, and one error type for all failures to write a file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from demitasse.errors import DemitasseError, FileFormatError, UsageError, WriteError


def check_name(path: str | PathLike[str]) -> None:
    """Raises UsageError if no file can have this path."""
    try:
        possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        possible = False
    if not os.fspath(path):
        raise UsageError("the path is empty; expected the name of a file")
    if not possible:
        raise UsageError(f"{os.fspath(path)!r} cannot be the name of a file")


def check_readable(path: str | PathLike[str]) -> None:
    """Checks that a path is a regular file, or missing.

    Raises:
        UsageError: no file can have this path.
        FileFormatError: the path is a folder, a pipe or a device, or a circle of links.
    """
    check_name(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:  # such as a circle of links
        raise FileFormatError(f"{os.fspath(path)}: cannot be read: {error.strerror or error}") from error
    if stat.S_ISDIR(mode):
        raise FileFormatError(f"{os.fspath(path)}: is a folder; expected a file")
    if not stat.S_ISREG(mode):
        raise FileFormatError(
            f"{os.fspath(path)}: is a pipe or a device, which cannot be read at any position; expected a file, or its "
            "bytes"
        )


@contextmanager
def writing(path: str | Path, safe: str = "") -> Iterator[None]:
    """Turns an OSError raised in the block into an error that names the file.

    Args:
        path: the file, as the user gave it.
        safe: what the failure did not change, for the message.

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
