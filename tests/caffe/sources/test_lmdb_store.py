"""Databases are written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from demitasse.caffe.sources import lmdb_store
from demitasse.caffe.sources.lmdb_store import LmdbReader, Record, write_lmdb
from demitasse.errors import DataError, UsageError


def some(count: int) -> list[Record]:
    return [(f"{i:08d}".encode(), bytes([i % 256]) * 100) for i in range(count)]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert write_lmdb(tmp_path / "db", some(2500)) == 2500
    reader = LmdbReader(str(tmp_path / "db"))
    assert len(reader) == 2500
    assert list(islice(reader.records(), 2500)) == some(2500)
    assert list(reader.records(2498)) == some(2500)[2498:]
    assert list(reader.records(2500)) == []


def test_the_map_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_store, "_FIRST_MAP", 1 << 16)
    write_lmdb(tmp_path / "db", [(b"k%d" % i, bytes(50_000)) for i in range(20)])
    assert len(LmdbReader(str(tmp_path / "db"))) == 20


def test_an_existing_database_is_refused(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "db", some(1))
    with pytest.raises(UsageError, match="db: already exists"):
        write_lmdb(tmp_path / "db", some(2))
    assert len(LmdbReader(str(tmp_path / "db"))) == 1


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[Record]:
        yield from some(1500)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lmdb(tmp_path / "db", broken())
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="db: cannot be written: "):
        write_lmdb(tmp_path / "db", [(b"k" * 600, b"v")])
    assert list(tmp_path.iterdir()) == []
