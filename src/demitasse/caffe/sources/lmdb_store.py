"""Databases of records in LMDB's own files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakValueDictionary

import lmdb

from demitasse.errors import DataError

Record = tuple[bytes, bytes]

# LMDB refuses to open a database twice in a process, but a training and a test net may share one
_OPEN: WeakValueDictionary[str, lmdb.Environment] = WeakValueDictionary()


class LmdbReader:
    """The records of a database in the order of their keys.

    Args:
        path: the folder that holds ``data.mdb``.

    Raises:
        DataError: missing, not an LMDB, or empty.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._environment: lmdb.Environment | None = _open(path)
        self._count: int = self._environment.stat()["entries"]
        if not self._count:
            raise DataError(f"{path}: the LMDB has no records")

    def __len__(self) -> int:
        return self._count

    def records(self, start: int = 0) -> Iterator[Record]:
        """Yields (key, value) from record ``start`` on, endlessly, wrapping round."""
        assert self._environment is not None
        with self._environment.begin() as transaction:
            cursor = transaction.cursor()
            cursor.first()
            keys = cursor.iternext(keys=True, values=False)
            for _ in range(start % self._count):
                next(keys)
            yield from cursor.iternext()
            while True:
                cursor.first()
                yield from cursor.iternext()

    def close(self) -> None:
        """Lets go of the database."""
        self._environment = None


def _open(path: str) -> lmdb.Environment:
    place = os.path.realpath(path)
    environment = _OPEN.get(place)
    if environment is None:
        if not (Path(path) / "data.mdb").is_file():
            raise DataError(f"{path}: not an LMDB: there is no file data.mdb in it")
        try:
            environment = lmdb.open(path, readonly=True, lock=False, create=False, readahead=False)
        except lmdb.Error as error:
            raise DataError(f"{path}: not an LMDB that can be read: {error}") from None
        _OPEN[place] = environment
    return environment
