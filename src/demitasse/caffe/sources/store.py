"""The interface of databases for sources and tools: records in the order of their keys, in an LMDB or a LevelDB."""

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
        """Returns the number of records. LevelDB does not store it: the first call counts them."""

    @abstractmethod
    def records(self, start: int = 0) -> Iterator[Record]:
        """Yields (key, value) from record ``start`` to the last.

        Raises:
            DataError: the files are corrupt.
        """


Put = Callable[[bytes, bytes], None]


class Backend(NamedTuple):
    """A kind of database.

    ``open(path)`` returns a :class:`DatabaseReader`. ``create(path)`` is a context with a function ``put(key, value)``,
    which accepts keys in any order; the database exists only once the context has ended.
    """

    open: Callable[[str], DatabaseReader]
    create: Callable[[str | Path], AbstractContextManager[Put]]


BACKENDS: Registry[Backend] = Registry("database backend")


def write_database(path: str | Path, records: Iterable[Record], backend: str) -> int:
    """Writes a new database; if the process is killed, there is no database.

    Args:
        path: the folder of the new database.
        records: (key, value) in any order; they are stored in the order of their keys.
        backend: ``lmdb`` or ``leveldb``.

    Returns:
        The number of records written.

    Raises:
        UsageError: the path exists already, or there is no such backend.
        WriteError: the disk is full.
        DataError: a record is too long.
    """
    count = 0
    with BACKENDS[backend].create(path) as put:
        for key, value in records:
            put(key, value)
            count += 1
    return count
