"""LevelDBs are read without being changed, and written whole or not at all."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demitasse.caffe.sources.leveldb_store import LevelDbReader
from demitasse.caffe.sources.store import Record, write_database
from demitasse.errors import DataError, UsageError

pytestmark = pytest.mark.leveldb


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary folders."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def some(count: int) -> list[Record]:
    return [(f"{i:08d}".encode(), bytes([i % 256]) * 100) for i in range(count)]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_written_is_read_in_the_order_of_the_keys(tmp_path: Path) -> None:
    assert write_database(tmp_path / "db", reversed(some(2500)), "leveldb") == 2500
    reader = LevelDbReader(str(tmp_path / "db"))
    assert len(reader) == 2500
    assert list(reader.records()) == some(2500)
    assert list(reader.records(2498)) == some(2500)[2498:]
    assert list(reader.records(2500)) == []
    reader.close()


@pytest.mark.parametrize("compact", [False, True])
def test_reading_changes_nothing_even_where_nothing_can_be_written(
    compact: bool, tmp_path: Path, temporary: Path
) -> None:
    import plyvel

    database = tmp_path / "db"
    write_database(database, some(300), "leveldb")
    if compact:
        with plyvel.DB(str(database)) as opened:
            opened.compact_range()
    for path in database.iterdir():
        path.chmod(0o444)
    database.chmod(0o555)
    before = content(database)
    with LevelDbReader(str(database)) as first, LevelDbReader(str(database)) as second:
        assert list(first.records()) == list(second.records()) == some(300)
        assert len(list(temporary.iterdir())) == 2
    assert content(database) == before
    assert list(temporary.iterdir()) == []
    database.chmod(0o755)


def test_a_reader_that_is_forgotten_leaves_nothing(tmp_path: Path, temporary: Path) -> None:
    write_database(tmp_path / "db", some(3), "leveldb")
    reader = LevelDbReader(str(tmp_path / "db"))
    records = reader.records()
    assert next(records) == some(1)[0]
    del records, reader
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "CURRENT").unlink(), "not a LevelDB: there is no file CURRENT in it"),
        (lambda folder: (folder / "CURRENT").write_text("MANIFEST-000099\n"), "not a readable LevelDB: "),
        (lambda folder: next(folder.glob("MANIFEST*")).write_bytes(b"nothing"), "not a readable LevelDB: "),
    ],
)
def test_broken_databases_are_named(damage, message: str, tmp_path: Path, temporary: Path) -> None:
    write_database(tmp_path / "db", some(3), "leveldb")
    damage(tmp_path / "db")
    with pytest.raises(DataError, match=rf"db: {message}"):
        LevelDbReader(str(tmp_path / "db"))
    assert list(temporary.iterdir()) == []


def test_an_empty_database_is_refused(tmp_path: Path) -> None:
    write_database(tmp_path / "db", [], "leveldb")
    with pytest.raises(DataError, match="db: the LevelDB has no records"):
        LevelDbReader(str(tmp_path / "db"))


def test_an_existing_database_is_refused(tmp_path: Path) -> None:
    write_database(tmp_path / "db", some(1), "leveldb")
    with pytest.raises(UsageError, match="db: already exists"):
        write_database(tmp_path / "db", some(2), "leveldb")


def test_a_failure_leaves_nothing(tmp_path: Path, temporary: Path) -> None:
    def broken() -> Iterator[Record]:
        yield from some(1500)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_database(tmp_path / "db", broken(), "leveldb")
    assert list(tmp_path.iterdir()) == [temporary]


def test_without_plyvel_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plyvel", None)
    for call in (lambda: LevelDbReader(str(tmp_path)), lambda: write_database(tmp_path / "db", [], "leveldb")):
        with pytest.raises(UsageError, match=r"plyvel cannot be imported .*pip install 'demitasse\[leveldb\]'"):
            call()
