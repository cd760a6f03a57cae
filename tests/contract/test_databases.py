"""One suite over every registered kind of database: what each must do, whatever its files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from demitasse.caffe import sources
from demitasse.caffe.sources.store import BACKENDS, write_database
from demitasse.errors import DataError, UsageError

assert sources.SOURCES  # registers the kinds of databases

# kind -> the package that it needs
NEEDS = {"lmdb": "lmdb", "leveldb": "plyvel"}
# not in the order of their keys; an empty value, a long one, and bytes that are no text
RECORDS = [(b"b", b""), (b"a\xff", bytes(range(256)) * 100), (b"00000010", b"ten"), (b"a", b"\0"), (b"00000009", b"9")]
ORDERED = sorted(RECORDS)


@pytest.fixture(params=list(BACKENDS))
def kind(request: pytest.FixtureRequest) -> str:
    if find_spec(NEEDS[request.param]) is None:
        pytest.skip(f"{NEEDS[request.param]} is not installed")
    return request.param


def test_every_kind_is_here():
    assert set(NEEDS) == set(BACKENDS), "give the new kind of database a line in NEEDS"


def test_records_come_in_the_order_of_their_keys(kind: str, tmp_path: Path):
    assert write_database(tmp_path / "db", RECORDS, kind) == len(RECORDS)
    with BACKENDS[kind].open(str(tmp_path / "db")) as reader:
        assert len(reader) == len(RECORDS)
        assert list(reader.records()) == list(reader.records()) == ORDERED
        for start in range(len(RECORDS) + 2):
            assert list(reader.records(start)) == ORDERED[start:]
        assert reader.path == str(tmp_path / "db")


def test_two_readers_are_independent(kind: str, tmp_path: Path):
    write_database(tmp_path / "db", RECORDS, kind)
    first, second = (BACKENDS[kind].open(str(tmp_path / "db")) for _ in range(2))
    ahead, behind = first.records(), second.records()
    assert [next(ahead) for _ in range(3)] == ORDERED[:3]
    assert next(behind) == ORDERED[0]
    first.close()
    first.close()
    assert list(second.records()) == ORDERED
    second.close()


def test_reading_changes_no_file(kind: str, tmp_path: Path):
    write_database(tmp_path / "db", RECORDS, kind)
    before = {path.name: path.read_bytes() for path in (tmp_path / "db").iterdir()}
    with BACKENDS[kind].open(str(tmp_path / "db")) as reader:
        list(reader.records())
    assert {path.name: path.read_bytes() for path in (tmp_path / "db").iterdir()} == before


def test_a_database_is_whole_or_not_there(kind: str, tmp_path: Path):
    class Stopped(Exception):
        pass

    def fill() -> None:
        with BACKENDS[kind].create(tmp_path / "db") as put:
            put(b"a", b"1")
            assert not (tmp_path / "db").exists()
            raise Stopped

    with pytest.raises(Stopped):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_replaced(kind: str, tmp_path: Path):
    write_database(tmp_path / "db", RECORDS, kind)
    with pytest.raises(UsageError, match="db"):
        write_database(tmp_path / "db", RECORDS[:1], kind)
    with BACKENDS[kind].open(str(tmp_path / "db")) as reader:
        assert len(reader) == len(RECORDS)


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a file", "another folder"])
def test_what_is_no_database_is_an_error_of_the_data(kind: str, tmp_path: Path, there: str):
    place = tmp_path / "db"
    if there == "a file":
        place.write_bytes(b"no database")
    elif there != "nothing":
        place.mkdir()
    if there == "another folder":
        (place / "notes.txt").write_text("no database")
    with pytest.raises(DataError, match="db"):
        BACKENDS[kind].open(str(place))


def test_a_database_without_records_is_an_error_of_the_data(kind: str, tmp_path: Path):
    write_database(tmp_path / "db", [], kind)

    def read() -> None:
        with BACKENDS[kind].open(str(tmp_path / "db")) as reader:
            list(reader.records())

    with pytest.raises(DataError, match="no records"):
        read()


def test_files_cut_short_are_an_error_of_the_data(kind: str, tmp_path: Path):
    write_database(tmp_path / "db", RECORDS * 1, kind)
    for path in (tmp_path / "db").iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def read() -> int:
        with BACKENDS[kind].open(str(tmp_path / "db")) as reader:
            return len(list(reader.records()))

    with pytest.raises(DataError, match="db"):
        read()
