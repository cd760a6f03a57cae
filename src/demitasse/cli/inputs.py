"""Files that commands read: where a command line is not complete, one that is missing is named first."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, TypeVar

import typer

from demitasse.errors import FileFormatError, PrototxtError

_Value = TypeVar("_Value", Path, str, list[Path], None)
_KEY = "demitasse.inputs"


def prototxt(context: typer.Context, value: _Value) -> _Value:
    """Notes a prototxt that a command reads."""
    return _note(context, value, PrototxtError)


def existing(context: typer.Context, value: _Value) -> _Value:
    """Notes a file or folder that a command reads."""
    return _note(context, value, FileFormatError)


def all_but_the_last(context: typer.Context, paths: list[Path]) -> list[Path]:
    """Notes the files that a command reads, where the last is one that it writes; a single one must exist."""
    for path in paths[:-1] or paths:
        existing(context, path)
    if len(paths) == 1:
        check_noted_files(context)
    return paths


def check_noted_files(context: Any) -> None:
    """Checks that the files exist that were noted.

    Raises:
        PrototxtError: a prototxt does not.
        FileFormatError: another file does not.
    """
    for path, error in context.meta.get(_KEY, ()):
        if not os.path.exists(path):
            raise error(f"{path}: cannot be read: {os.strerror(errno.ENOENT)}")


def _note(context: typer.Context, value: _Value, error: type[Exception]) -> _Value:
    if value:
        context.meta.setdefault(_KEY, []).append((str(value), error))
    return value
