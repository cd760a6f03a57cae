"""Text files that name other files, and what they may name."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from demitasse.errors import DataError
from demitasse.files import system_path, text_path


def read_lines(path: str | Path, what: str) -> list[str]:
    """Returns the lines of a text, however they end, without a byte order mark.

    A name in the text need not be UTF-8: it is what :func:`open` takes for those bytes.

    Args:
        path: the file.
        what: it should be, for errors.

    Raises:
        DataError: it cannot be read, or is not a text.
    """
    data = read_regular(path, f"not {what}")
    if b"\0" in data:
        raise DataError(f"{shown(path)}: not {what}: byte {data.index(0)} is 0")
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def read_regular(path: str | Path, what: str = "cannot be read") -> bytes:
    """Returns the content of a file that another file names.

    Raises:
        DataError: it is missing, cannot be read, or is a folder, a device or a pipe.
    """
    require_regular(path, what)
    try:
        return Path(system_path(path)).read_bytes()
    except OSError as error:
        raise DataError(f"{shown(path)}: {what}: {error.strerror}") from error
    except ValueError as error:  # a name that no file can have
        raise DataError(f"{path!r}: {what}: {error}") from error


def require_regular(path: str | Path, what: str = "cannot be read") -> None:
    """Checks that what is there, if anything, is a file: a device or a pipe might never end.

    Raises:
        DataError: it is a folder, a device or a pipe.
    """
    try:
        mode = os.stat(system_path(path)).st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
        raise DataError(f"{shown(path)}: {what}: it is {kind}")


def is_text(path: str) -> bool:
    """Returns whether a path is text, as the messages of protobuf hold it, and not any bytes."""
    try:
        text_path(path)
    except UnicodeError:
        return False
    return True


def shown(path: str | Path) -> str:
    """Returns a path as a terminal can show it, whatever its bytes."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
