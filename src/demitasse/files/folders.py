"""Creates folders, and writes new folders atomically."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from demitasse.errors import UsageError
from demitasse.files.drafts import Draft, sync_folder
from demitasse.files.errors import check_name, writing


def make_folder(path: str | Path) -> Path:
    """Creates a folder and its parents if they are missing; returns its path.

    Raises:
        WriteError: the folder cannot be created, or a file has its name.
    """
    check_name(path)
    with writing(path):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yields a temporary folder next to ``path``; renames it to ``path`` on success, removes it on failure.

    Its files are on the disk before its name. Of several writers of a path, the first one to end wins.

    Raises:
        UsageError: the path already exists.
        WriteError: the disk is full, or the folder cannot be created.
    """
    check_name(path)
    target = os.path.abspath(path)
    _check(target, path)
    errors = partial(writing, path, "nothing was written")
    with errors():
        draft = Draft(target, _make)
    with draft:
        yield Path(draft.name)
        with errors():
            for file in Path(draft.name).rglob("*"):
                _sync(file)
            sync_folder(draft.name)
            _check(target, path)
            draft.publish(os.rename)


def _check(target: str, path: str | Path) -> None:
    if os.path.lexists(target):
        raise UsageError(f"{path}: already exists; remove it or give another name")


def _make(name: str) -> int:
    os.mkdir(name)
    # Windows cannot open folders: use any other descriptor
    return os.open(os.devnull if sys.platform == "win32" else name, os.O_RDONLY)


def _sync(path: Path) -> None:
    if path.is_dir():
        sync_folder(str(path))
        return
    with path.open("rb+") as file:
        os.fsync(file.fileno())
