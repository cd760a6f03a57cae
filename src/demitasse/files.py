"""Files that are never half written, and never left open."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self


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


class Closing(ABC):
    """What ``with`` closes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Lets go of the file."""
