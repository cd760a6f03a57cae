"""Databases of records in LevelDB's own files, by plyvel."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from typing_extensions import override

from demitasse.caffe.sources.store import BACKENDS, Backend, DatabaseReader, Put, Record
from demitasse.errors import DataError, WriteError
from demitasse.extras import needs
from demitasse.files import new_folder

_WRITE_BUFFER = 1 << 26
_BLOCK = 1 << 16
_DATA = ("CURRENT", "MANIFEST-*", "*.log", "*.ldb", "*.sst")


class LevelDbReader(DatabaseReader):
    """The records of a LevelDB, which is not changed and may be read-only.

    LevelDB writes into the folder that it opens, even to read. So it gets a temporary folder of links: what it adds
    goes there, what it removes are links. What it adds is the content of the log, and of tables that it merges
    where the program that wrote them ended before it had.

    Args:
        path: the folder that holds ``CURRENT``.

    Raises:
        DataError: missing, not a LevelDB, corrupt, or empty.
        MissingPackageError: plyvel is not installed.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._plyvel = _plyvel()
        folder = _links(path)
        self._release = weakref.finalize(self, shutil.rmtree, folder, True)
        with self._corruption():
            self._database: Any = self._plyvel.DB(folder, create_if_missing=False, paranoid_checks=True)
        weakref.finalize(self, self._database.close)  # finalizers run last made first
        if next(self.records(), None) is None:
            raise DataError(f"{path}: the LevelDB has no records")

    @override
    def __len__(self) -> int:
        return self._count

    @cached_property
    def _count(self) -> int:
        with self._corruption(), self._iterator(include_value=False) as keys:
            return sum(1 for _ in keys)

    @override
    def records(self, start: int = 0) -> Iterator[Record]:
        with self._corruption():
            with self._iterator(include_value=False) as keys:
                first = next(islice(keys, start, None), None)
            if first is None:
                return
            with self._iterator(start=first) as records:
                yield from records

    @override
    def close(self) -> None:
        self._database.close()
        self._release()

    def _iterator(self, **settings: Any) -> Any:
        return self._database.iterator(verify_checksums=True, fill_cache=False, **settings)

    @contextmanager
    def _corruption(self) -> Iterator[None]:
        try:
            yield
        except self._plyvel.Error as error:
            raise DataError(f"{self.path}: not a LevelDB that can be read: {error}") from error


@contextmanager
def create_leveldb(path: str | Path) -> Iterator[Put]:
    """Gives a function that puts a record into a new LevelDB.

    Raises:
        UsageError: there is something at the path already.
        MissingPackageError: plyvel is not installed.
        WriteError: the disk is full.
    """
    plyvel = _plyvel()
    with new_folder(path) as temporary:
        try:
            database = plyvel.DB(
                str(temporary), create_if_missing=True, write_buffer_size=_WRITE_BUFFER, block_size=_BLOCK
            )
            try:
                yield database.put
            finally:
                database.close()
        except plyvel.Error as error:
            raise WriteError(f"{path}: cannot be written: {error}; nothing was written") from error


def _plyvel() -> Any:
    with needs("plyvel"):
        import plyvel
    return plyvel


def _links(path: str) -> str:
    """Returns a new folder of links to the files of a LevelDB."""
    if not (Path(path) / "CURRENT").is_file():
        raise DataError(f"{path}: not a LevelDB: there is no file CURRENT in it")
    folder = tempfile.mkdtemp(prefix="demitasse-leveldb-")
    for pattern in _DATA:
        for file in Path(path).glob(pattern):
            if file.is_file():
                (Path(folder) / file.name).symlink_to(file.resolve())
    return folder


BACKENDS.register("leveldb")(Backend(LevelDbReader, create_leveldb))
