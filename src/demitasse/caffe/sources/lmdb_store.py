"""Databases of records in LMDB's own files."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from demitasse.caffe.sources.store import BACKENDS, Backend, Put, Reader, Record, write_database
from demitasse.errors import DataError, WriteError
from demitasse.files import new_folder

_TRANSACTION = 1000
_FIRST_MAP = 1 << 24

# LMDB refuses to open a database twice in a process, but a training and a test net may share one:
# place -> what is open there, and how many readers have it; readers may end in any thread, and while one begins
_OPEN: dict[str, tuple[lmdb.Environment, int]] = {}
_lock = threading.RLock()


class LmdbReader(Reader):
    """The records of an LMDB.

    Args:
        path: the folder that holds ``data.mdb``.

    Raises:
        DataError: missing, not an LMDB, cut short, or empty.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        place = os.path.realpath(path)
        self._environment: lmdb.Environment | None = _share(place, path)
        self._let_go = weakref.finalize(self, _let_go, place)
        self._let_go.atexit = False
        self._count: int = self._environment.stat()["entries"]
        if not self._count:
            raise DataError(f"{path}: the LMDB has no records")

    def __len__(self) -> int:
        return self._count

    def records(self, start: int = 0) -> Iterator[Record]:
        assert self._environment is not None
        with self._environment.begin() as transaction:
            cursor = transaction.cursor()
            found = cursor.first()
            for _ in range(start):
                found = found and cursor.next()
            if found:
                yield from cursor.iternext()

    def close(self) -> None:
        self._environment = None
        self._let_go()


def _share(place: str, path: str) -> lmdb.Environment:
    with _lock:
        environment, readers = _OPEN[place] if place in _OPEN else (_open(path), 0)
        _OPEN[place] = environment, readers + 1
        return environment


def _let_go(place: str) -> None:
    with _lock:
        environment, readers = _OPEN.pop(place)
        if readers > 1:
            _OPEN[place] = environment, readers - 1
        else:
            environment.close()


def _open(path: str) -> lmdb.Environment:
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
        environment.close()
        raise DataError(f"{file}: cut short: {file.stat().st_size} bytes, of {needed}")
    return environment


@contextmanager
def create_lmdb(path: str | Path) -> Iterator[Put]:
    """Gives a function that puts a record into a new LMDB; 1,000 records are a transaction.

    Raises:
        UsageError: there is something at the path already.
        WriteError: the disk is full.
        DataError: a key is longer than LMDB's 511 bytes.
    """
    batch: list[Record] = []
    with new_folder(path) as temporary:
        try:
            with lmdb.open(str(temporary), map_size=_FIRST_MAP, sync=False) as environment:

                def put(key: bytes, value: bytes) -> None:
                    batch.append((key, value))
                    if len(batch) == _TRANSACTION:
                        _commit(environment, batch)

                yield put
                _commit(environment, batch)
        except lmdb.BadValsizeError as error:
            raise DataError(f"{path}: cannot be written: {error}") from None
        except lmdb.Error as error:
            raise WriteError(f"{path}: cannot be written: {error}; nothing is left behind") from None


def write_lmdb(path: str | Path, records: Iterable[Record]) -> int:
    """Writes a new LMDB; see :func:`demitasse.caffe.sources.store.write_database`."""
    return write_database(path, records, "lmdb")


def _commit(environment: lmdb.Environment, batch: list[Record]) -> None:
    """Writes the batch, in a map of twice the size as often as it is full, and empties it."""
    while batch:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in batch:
                    transaction.put(key, value)
            batch.clear()
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])


BACKENDS.register("lmdb")(Backend(LmdbReader, create_lmdb))
