"""Files that are never half written, and never left open."""

from __future__ import annotations

import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from demitasse.errors import UsageError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path``; renames it on success, removes it on failure.

    The data is on the disk before the name is: a run killed at any moment leaves the old file or the new one.

    Raises:
        OSError: the disk is full or the folder cannot be written; ``path`` is as before.
    """
    target = Path(path)
    # the same name every time: what a killed run left is overwritten, not piled up
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        # a library that writes a file of its own and renames it may leave it to its owner alone
        temporary.chmod(mode)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Gives a temporary folder beside ``path``; renames it on success, removes it on failure.

    The files in it are on the disk before the name is.

    Raises:
        UsageError: there is something at the path already.
        OSError: the disk is full or the folder cannot be made.
    """
    target = Path(path)
    if target.exists():
        raise UsageError(f"{target}: exists already; remove it or give another name")
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        yield temporary
        for name in temporary.iterdir():
            with name.open("rb+") as file:
                os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class Closing(ABC):
    """What ``with`` closes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Lets go of the file."""
