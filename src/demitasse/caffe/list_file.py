"""Reads text files that list other files, and the files that they list."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from demitasse.errors import DataError
from demitasse.files import system_path, text_path


def read_lines(path: str | Path, what: str) -> list[str]:
    """Returns the lines of a text file with any line endings, without a byte order mark.

    Bytes that are not UTF-8 are decoded as surrogates, so that :func:`open` accepts names that contain them.

    Args:
        path: the file.
        what: the expected kind of file, for error messages.

    Raises:
        DataError: the file cannot be read, or is not a text file.
    """
    data = read_regular(path, f"not {what}")
    if b"\0" in data:
        raise DataError(f"{shown(path)}: not {what}: byte {data.index(0)} is 0, so it is not a text file")
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def read_regular(path: str | Path, what: str = "cannot be read") -> bytes:
    """Returns the content of a file that another file names.

    Raises:
        DataError: the file is missing, cannot be read, or is a folder, a device or a pipe.
    """
    require_regular(path, what)
    try:
        return Path(system_path(path)).read_bytes()
    except OSError as error:
        raise DataError(f"{shown(path)}: {what}: {error.strerror}") from error
    except ValueError as error:  # an invalid file name
        raise DataError(f"{path!r}: {what}: {error}") from error


def require_regular(path: str | Path, what: str = "cannot be read") -> None:
    """Checks that a path, if it exists, is a regular file, since reading a device or a pipe might never end.

    Raises:
        DataError: the path is a folder, a device or a pipe.
    """
    try:
        mode = os.stat(system_path(path)).st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
        raise DataError(f"{shown(path)}: {what}: it is {kind}")


def is_text(path: str) -> bool:
    """Returns whether a path is valid text, which a protobuf message can store."""
    try:
        text_path(path)
    except UnicodeError:
        return False
    return True


def shown(path: str | Path) -> str:
    """Returns a path as printable text, whatever its bytes."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
