"""Databases of records in LMDB's own files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from demitasse.caffe.sources.lmdb_pages import Pages
from demitasse.caffe.sources.store import BACKENDS, Backend, DatabaseReader, Put, Record, write_database
from demitasse.errors import DataError, WriteError
from demitasse.extras import needs
from demitasse.files import new_folder

if TYPE_CHECKING:
    import lmdb

_TRANSACTION = 1000
_FIRST_MAP = 1 << 24


class LmdbReader(DatabaseReader):
    """The records of an LMDB.

    Args:
        path: the folder that contains ``data.mdb``.

    Raises:
        DataError: the folder is missing, not an LMDB, cut short, or empty.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        file = Path(path) / "data.mdb"
        if not file.is_file():
            raise DataError(f"{path}: not an LMDB: there is no file data.mdb in it")
        self._pages = Pages(file)
        if not self._pages.count:
            raise DataError(f"{path}: the LMDB has no records")

    @override
    def __len__(self) -> int:
        return self._pages.count

    @override
    def records(self, start: int = 0) -> Iterator[Record]:
        return self._pages.records(start)

    @override
    def close(self) -> None:
        self._pages.close()


@contextmanager
def create_lmdb(path: str | Path) -> Iterator[Put]:
    """Creates an LMDB; the context is a function that stores a record. A transaction has 1,000 records.

    Raises:
        UsageError: the path exists already.
        WriteError: the disk is full.
        DataError: a key is longer than LMDB's 511 bytes.
        MissingPackageError: lmdb is not installed; reading needs no package.
    """
    with needs("lmdb"):
        import lmdb
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
            raise DataError(f"{path}: cannot be written: {error}") from error
        except lmdb.Error as error:
            raise WriteError(f"{path}: cannot be written: {error}; nothing was written") from error


def write_lmdb(path: str | Path, records: Iterable[Record]) -> int:
    """Writes a new LMDB; see :func:`demitasse.caffe.sources.store.write_database`."""
    return write_database(path, records, "lmdb")


def _commit(environment: lmdb.Environment, batch: list[Record]) -> None:
    """Writes the records and clears the list; doubles the size of the map whenever it is full."""
    import lmdb

    while batch:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in batch:
                    transaction.put(key, value)
            batch.clear()
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])


BACKENDS.register("lmdb")(Backend(LmdbReader, create_lmdb))
