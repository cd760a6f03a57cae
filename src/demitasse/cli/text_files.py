"""Text files of users: names, one a line."""

from __future__ import annotations

from pathlib import Path

from demitasse.errors import DataError


def read_lines(path: Path) -> list[str]:
    """Returns the lines of a file.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
