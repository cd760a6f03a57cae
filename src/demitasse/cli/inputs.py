"""Input files of commands: if a command line is incomplete, a missing file is reported before missing arguments."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TypeVar

import typer

from demitasse.errors import FileFormatError, PrototxtError

_Value = TypeVar("_Value", Path, str, list[Path], None)
_KEY = "demitasse.inputs"


def prototxt(context: typer.Context, value: _Value) -> _Value:
    """Notes that a command reads this prototxt; a callback of typer that returns the value."""
    return _note(context, value, PrototxtError)


def existing(context: typer.Context, value: _Value) -> _Value:
    """Notes that a command reads this file or folder; a callback of typer that returns the value."""
    return _note(context, value, FileFormatError)


def all_existing(context: typer.Context, paths: list[Path]) -> list[Path]:
    """Notes that a command reads these files; a callback of typer that returns them."""
    for path in paths:
        existing(context, path)
    return paths


def all_but_the_last(context: typer.Context, paths: list[Path]) -> list[Path]:
    """Notes all files but the last, which the command writes; checks a single file at once."""
    for path in paths[:-1] or paths:
        existing(context, path)
    if len(paths) == 1:
        check_noted_files(context)
    return paths


def check_noted_files(context: typer.Context) -> None:
    """Checks that the noted files exist.

    Raises:
        PrototxtError: a prototxt does not exist.
        FileFormatError: another file does not exist.
    """
    for path, error in context.meta.get(_KEY, ()):
        if not os.path.exists(path):
            raise error(f"{path}: cannot be read: {os.strerror(errno.ENOENT)}")


def _note(context: typer.Context, value: _Value, error: type[Exception]) -> _Value:
    if value:
        context.meta.setdefault(_KEY, []).append((str(value), error))
    return value
