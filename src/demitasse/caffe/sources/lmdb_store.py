"""Databases of records in LMDB's own files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from weakref import WeakValueDictionary

import lmdb

from demitasse.errors import DataError, UsageError

Record = tuple[bytes, bytes]

_TRANSACTION = 1000
_FIRST_MAP = 1 << 24

# LMDB refuses to open a database twice in a process, but a training and a test net may share one
_OPEN: WeakValueDictionary[str, lmdb.Environment] = WeakValueDictionary()


class LmdbReader:
    """The records of a database in the order of their keys.

    Args:
        path: the folder that holds ``data.mdb``.

    Raises:
        DataError: missing, not an LMDB, cut short, or empty.
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
            for _ in range(start % self._count):
                cursor.next()
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
        file = Path(path) / "data.mdb"
        if not file.is_file():
            raise DataError(f"{path}: not an LMDB: there is no file data.mdb in it")
        try:
            environment = lmdb.open(path, readonly=True, lock=False, create=False, readahead=False)
        except lmdb.Error as error:
            raise DataError(f"{path}: not an LMDB that can be read: {error}") from None
        # reading a page behind the end of the file would kill the process
        needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
        if file.stat().st_size < needed:
            raise DataError(f"{file}: cut short: {file.stat().st_size} bytes, of {needed}")
        _OPEN[place] = environment
    return environment


def write_lmdb(path: str | Path, records: Iterable[Record]) -> int:
    """Writes a new database, 1,000 records a transaction; killed at any moment it leaves none.

    Args:
        path: the folder to be made.
        records: (key, value) in any order; they are stored in the order of their keys.

    Returns:
        How many records were written.

    Raises:
        UsageError: there is something at the path already.
        DataError: the disk is full, or a key is longer than LMDB's 511 bytes.
    """
    target = Path(path)
    if target.exists():
        raise UsageError(f"{target}: exists already; remove it or give another name")
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        with lmdb.open(str(temporary), map_size=_FIRST_MAP, sync=False) as environment:
            count = _write(environment, iter(records))
            environment.sync(True)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        temporary.rename(target)
    except lmdb.Error as error:
        raise DataError(f"{target}: cannot be written: {error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return count


def _write(environment: lmdb.Environment, records: Iterator[Record]) -> int:
    count = 0
    while batch := list(islice(records, _TRANSACTION)):
        _commit(environment, batch)
        count += len(batch)
    return count


def _commit(environment: lmdb.Environment, batch: list[Record]) -> None:
    """Writes the batch, in a map of twice the size as often as it is full."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in batch:
                    transaction.put(key, value)
            return
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])
