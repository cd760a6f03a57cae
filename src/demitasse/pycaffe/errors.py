"""Errors that are also RuntimeError or ValueError, since scripts written for pycaffe catch those."""

from __future__ import annotations

from pathlib import Path

from demitasse.errors import FileFormatError, UnknownNameError, UsageError


class MissingFileError(FileFormatError, RuntimeError):
    """A file that cannot be opened."""


class ArgumentError(UsageError, RuntimeError):
    """An argument that does not match the net."""


class LayerNameError(UnknownNameError, ValueError):
    """A layer that the net does not have."""


def check_file(path: str | Path) -> None:
    """Raises MissingFileError if a file cannot be opened."""
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise MissingFileError(f"Could not open file {path}: {error.strerror}") from error
