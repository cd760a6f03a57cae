"""The tree of an LMDB is read as LMDB itself reads it, and damage is an error."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.sources.leveldb_store import create_leveldb
from demitasse.caffe.sources.lmdb_store import LmdbReader, write_lmdb
from demitasse.caffe.sources.store import Record, write_database
from demitasse.caffe.text.prototxt import parse
from demitasse.errors import DataError


def mixed(count: int) -> list[Record]:
    """Returns records with values from nothing to some pages, in the order of their keys."""
    random = np.random.default_rng(0)
    sizes = random.choice([0, 1, 100, 1500, 2100, 5000, 20_000], count)
    return [(f"{i:08d}".encode() + b"k" * (i % 50), random.bytes(int(size))) for i, size in enumerate(sizes)]


def test_it_reads_what_lmdb_reads(tmp_path: Path) -> None:
    records = mixed(3000)
    write_lmdb(tmp_path / "db", records)
    with lmdb.open(str(tmp_path / "db"), map_size=1 << 28) as environment:
        with environment.begin(write=True) as transaction:
            for key, _ in records[100:900]:
                transaction.delete(key)
        with environment.begin(write=True) as transaction:
            transaction.put(records[5][0], b"new")
        with environment.begin() as transaction:
            expected = list(transaction.cursor())
            assert environment.stat()["depth"] > 2
    reader = LmdbReader(str(tmp_path / "db"))
    assert len(reader) == len(expected) == 2200
    assert list(reader.records()) == expected
    assert list(reader.records(1234)) == expected[1234:]


def datum(value: int) -> bytes:
    return bytes(schema.Datum(channels=1, height=1, width=1, data=bytes([value]), label=value).SerializeToString())


def lmdb_of(path: Path, value: int) -> None:
    write_lmdb(path, [(b"a", datum(value))])


def leveldb_of(path: Path, value: int) -> None:
    with create_leveldb(path) as put:
        put(b"a", datum(value))


@pytest.mark.parametrize(
    ("backend", "write"),
    [("LMDB", lmdb_of), pytest.param("LEVELDB", leveldb_of, marks=pytest.mark.leveldb)],
)
def test_a_new_net_reads_the_database_that_took_the_place_of_an_older_one(
    tmp_path: Path, backend: str, write: Callable[[Path, int], None]
) -> None:
    path = tmp_path / "db"
    text = f"""layer {{ name: "d" type: "Data" top: "data" top: "label"
      data_param {{ source: "{path}" batch_size: 1 backend: {backend} }} }}"""
    write(path, 3)
    older = Net(parse(text, schema.NetParameter(), "net"))
    assert older.next_batch()["label"].item() == 3
    shutil.rmtree(path)
    write(path, 7)
    newer = Net(parse(text, schema.NetParameter(), "net"))
    assert newer.next_batch()["label"].item() == 7
    assert [source.close() for net in (older, newer) for source in net.sources.values()] == [None, None]


def damaged(path: Path, change: Callable[[bytearray], None]) -> str:
    write_database(path, mixed(300), "lmdb")
    content = bytearray((path / "data.mdb").read_bytes())
    change(content)
    (path / "data.mdb").write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(LmdbReader(str(path)).records())
    return str(caught.value)


def root(content: bytearray) -> int:
    metas = [int.from_bytes(content[at + 16 + 128 : at + 16 + 136], "little") for at in (0, 4096)]
    at = 4096 * metas.index(max(metas))
    return 4096 * int.from_bytes(content[at + 16 + 112 : at + 16 + 120], "little")


def test_a_damaged_page_is_an_error_that_names_it(tmp_path: Path) -> None:
    def wrong_kind(content: bytearray) -> None:
        content[root(content) + 10] = 7

    def entry_behind(content: bytearray) -> None:
        content[root(content) + 16 : root(content) + 18] = b"\xff\xff"

    def child_behind(content: bytearray) -> None:
        node = root(content) + int.from_bytes(content[root(content) + 16 : root(content) + 18], "little")
        content[node : node + 4] = b"\xff\xff\xff\x7f"

    def child_of_itself(content: bytearray) -> None:
        node = root(content) + int.from_bytes(content[root(content) + 16 : root(content) + 18], "little")
        content[node : node + 4] = (root(content) // 4096).to_bytes(4, "little")

    assert "damaged: page " in damaged(tmp_path / "a", wrong_kind)
    assert "an entry begins at byte 65535, beyond the page of 4096 bytes" in damaged(tmp_path / "b", entry_behind)
    assert "page 2147483647: it is beyond the end of the file" in damaged(tmp_path / "c", child_behind)
    assert "damaged: page " in damaged(tmp_path / "d", child_of_itself)


def test_any_damage_is_an_error_or_other_records(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "db", mixed(120))
    file = tmp_path / "db" / "data.mdb"
    sound = file.read_bytes()
    random = np.random.default_rng(1)
    failed = 0
    for _ in range(300):
        content = bytearray(sound)
        for place in random.integers(len(content), size=3) if random.random() < 0.5 else random.integers(8192, size=2):
            content[place] = random.integers(256)
        for page in random.integers(len(content) // 4096, size=2):
            content[page * 4096 + random.integers(80)] = random.integers(256)
        file.write_bytes(content)
        try:
            reader = LmdbReader(str(tmp_path / "db"))
            assert sum(1 for _ in reader.records()) == len(reader)
        except DataError:
            failed += 1
    assert failed > 20
