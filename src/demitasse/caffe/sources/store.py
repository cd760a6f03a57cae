"""What a database is to sources and tools: records in the order of their keys, in LMDB's files or in LevelDB's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from demitasse.files import Closing
from demitasse.registry import Registry

Record = tuple[bytes, bytes]


class DatabaseReader(Closing):
    """The records of a database in the order of their keys.

    Attributes:
        path: the folder, for messages.
    """

    path: str

    @abstractmethod
    def __len__(self) -> int:
        """Returns how many records there are. LevelDB keeps no such number: the first call counts them."""

    @abstractmethod
    def records(self, start: int = 0) -> Iterator[Record]:
        """Yields (key, value) from record ``start`` to the last.

        Raises:
            DataError: the files are corrupt.
        """


Put = Callable[[bytes, bytes], None]


class Backend(NamedTuple):
    """A kind of database.

    ``open(path)`` gives a :class:`DatabaseReader`. ``create(path)`` is a context that gives a function
    ``put(key, value)``, to be called with keys in any order; the database is there when the context has ended, and
    only then.
    """

    open: Callable[[str], DatabaseReader]
    create: Callable[[str | Path], AbstractContextManager[Put]]


BACKENDS: Registry[Backend] = Registry("database backend")


def write_database(path: str | Path, records: Iterable[Record], backend: str) -> int:
    """Writes a new database; killed at any moment it leaves none.

    Args:
        path: the folder to be made.
        records: (key, value) in any order; they are stored in the order of their keys.
        backend: ``lmdb`` or ``leveldb``.

    Returns:
        How many records were written.

    Raises:
        UsageError: there is something at the path already, or no such backend.
        WriteError: the disk is full.
        DataError: a record is too long.
    """
    count = 0
    with BACKENDS[backend].create(path) as put:
        for key, value in records:
            put(key, value)
            count += 1
    return count
