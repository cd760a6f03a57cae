"""Folders: new ones that are whole or not there, and those that files are put into."""

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
    """Makes a folder, and those above it, where it is missing; returns its path.

    Raises:
        WriteError: it cannot be made, or a file has its name.
    """
    check_name(path)
    with writing(path):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Gives a temporary folder beside ``path``; renames it on success, removes it on failure.

    The files in it are on the disk before the name is. Of several writers of a path, the first one to end wins.

    Raises:
        UsageError: there is something at the path already.
        WriteError: the disk is full or the folder cannot be made.
    """
    check_name(path)
    target = os.path.abspath(path)
    _check(target, path)
    told = partial(writing, path, "nothing was written")
    with told():
        draft = Draft(target, _make)
    with draft:
        yield Path(draft.name)
        with told():
            for file in Path(draft.name).rglob("*"):
                _sync(file)
            sync_folder(draft.name)
            _check(target, path)
            draft.publish(os.rename)


def _check(target: str, path: str | Path) -> None:
    if os.path.lexists(target):
        raise UsageError(f"{path}: exists already; remove it or give another name")


def _make(name: str) -> int:
    os.mkdir(name)
    # Windows opens no folders: any descriptor of our own will do
    return os.open(os.devnull if sys.platform == "win32" else name, os.O_RDONLY)


def _sync(path: Path) -> None:
    if path.is_dir():
        sync_folder(str(path))
        return
    with path.open("rb+") as file:
        os.fsync(file.fileno())
