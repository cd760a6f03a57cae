"""Databases of records in LevelDB's own files, through plyvel."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import ModuleType
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

    LevelDB writes to the folder that it opens, even for reading. So it opens a temporary folder of links: it adds
    files there (the content of the log, and tables that the writing program left unmerged), and removes only links.

    Args:
        path: the folder that contains ``CURRENT``.

    Raises:
        DataError: the folder is missing, not a LevelDB, corrupt, or empty.
        MissingPackageError: plyvel is not installed.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._plyvel = _plyvel()
        folder = _links(path)
        self._release = weakref.finalize(self, shutil.rmtree, folder, True)
        with self._corruption():
            self._database = self._plyvel.DB(folder, create_if_missing=False, paranoid_checks=True)
        weakref.finalize(self, self._database.close)  # finalizers run in reverse order of creation
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

    def _iterator(self, **settings: object) -> Any:
        return self._database.iterator(verify_checksums=True, fill_cache=False, **settings)

    @contextmanager
    def _corruption(self) -> Iterator[None]:
        try:
            yield
        except self._plyvel.Error as error:
            raise DataError(f"{self.path}: not a readable LevelDB: {error}") from error


@contextmanager
def create_leveldb(path: str | Path) -> Iterator[Put]:
    """Creates a LevelDB; the context is a function that stores a record.

    Raises:
        UsageError: the path exists already.
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


def _plyvel() -> ModuleType:
    with needs("plyvel"):
        import plyvel
    module: ModuleType = plyvel
    return module


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
