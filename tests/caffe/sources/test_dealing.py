"""Records dealt out over several processes: together their batches are those of one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.sources import SOURCES
from demitasse.caffe.sources.base import Source
from demitasse.caffe.sources.lmdb_store import write_lmdb
from demitasse.caffe.text import prototxt
from demitasse.errors import DataError

Make = Callable[[int], Source]


def source(kind: str, settings: str) -> Source:
    text = f'layer {{ name: "d" type: "{kind}" top: "data" top: "label" {settings} }}'
    spec = prototxt.parse(text, schema.NetParameter(), "net").layer[0]
    made = SOURCES[kind](spec, schema.TRAIN)
    made.seed(7)
    return made


def database(folder: Path) -> Make:
    images = np.random.default_rng(1).integers(0, 256, (11, 1, 6, 6), np.uint8)
    datums = [schema.Datum(channels=1, height=6, width=6, data=x.tobytes(), label=i) for i, x in enumerate(images)]
    write_lmdb(folder / "lmdb", [(f"{i:03d}".encode(), datum.SerializeToString()) for i, datum in enumerate(datums)])
    settings = f'backend: LMDB rand_skip: 9 source: "{folder / "lmdb"}"'
    transform = "transform_param { crop_size: 4 mirror: true }"
    return lambda batch: source("Data", f"data_param {{ {settings} batch_size: {batch} }} {transform}")


def changed(folder: Path) -> Make:
    """A database whose images are changed at random before the crop, as by SSD."""
    database(folder)
    transform = """transform_param { resize_param { height: 5 width: 8 interp_mode: LINEAR interp_mode: AREA }
        noise_param { saltpepper: true saltpepper_param { fraction: 0.3 value: 9 } } crop_size: 4 }"""
    settings = f'backend: LMDB source: "{folder / "lmdb"}"'
    return lambda batch: source("Data", f"data_param {{ {settings} batch_size: {batch} }} {transform}")


def image_files(folder: Path) -> Make:
    random = np.random.default_rng(2)
    for i in range(7):
        Image.fromarray(random.integers(0, 256, (6 + i, 8, 3), np.uint8)).save(folder / f"{i}.png")
    (folder / "list").write_text("".join(f"{folder}/{i}.png {i}\n" for i in range(7)))
    settings = f'shuffle: true rand_skip: 5 source: "{folder / "list"}"'
    transform = "transform_param { crop_size: 5 mirror: true }"
    return lambda batch: source("ImageData", f"image_data_param {{ {settings} batch_size: {batch} }} {transform}")


def hdf5(folder: Path) -> Make:
    for name, rows in (("a", range(5)), ("b", range(5, 12)), ("c", range(12, 13))):
        with h5py.File(folder / name, "w") as file:
            file["data"] = file["label"] = np.array(rows, np.float32)
    (folder / "list").write_text("\n".join(str(folder / name) for name in "abc"))
    settings = f'source: "{folder / "list"}" shuffle: true'
    return lambda batch: source("HDF5Data", f"hdf5_data_param {{ {settings} batch_size: {batch} }}")


def memory(folder: Path) -> Make:
    def make(batch: int) -> Source:
        settings = f"channels: 1 height: 1 width: 1 batch_size: {batch}"
        made = source("MemoryData", f"memory_data_param {{ {settings} }}")
        made.set_arrays(np.arange(13.0).reshape(-1, 1, 1, 1), np.arange(13.0))  # type: ignore[attr-defined]
        return made

    return make


class Counting(Source):
    """Knows nothing of other processes."""

    def __init__(self, batch: int, shape: tuple[int, ...] = (2,)) -> None:
        self.size, self.shape, self.next = batch, shape, 0
        super().__init__(None, schema.TRAIN)

    def next_batch(self) -> list[torch.Tensor]:
        rows = torch.arange(self.next, self.next + self.size, dtype=torch.float32)
        self.next += self.size
        return [rows[:, None].expand(-1, *self.shape), rows]


@pytest.mark.parametrize("kind", [database, changed, image_files, hdf5, memory, lambda folder: Counting])
@pytest.mark.parametrize("ranks", [2, 3])
def test_the_batches_of_all_processes_make_up_that_of_one(
    tmp_path: Path, kind: Callable[[Path], Make], ranks: int
) -> None:
    make = kind(tmp_path)
    alone, dealt = make(2 * ranks), [make(2) for _ in range(ranks)]
    for rank, each in enumerate(dealt):
        each.split_among_ranks(rank, ranks)
    for _ in range(9):
        whole = alone.next_own_batch()
        for rank, each in enumerate(dealt):
            for theirs, mine in zip(whole, each.next_own_batch(), strict=True):
                assert torch.equal(mine, theirs[rank::ranks])
            if each.splits_by_rank:
                assert each.state() == alone.state()


def test_positions_go_over_to_another_number_of_processes(tmp_path: Path) -> None:
    make = database(tmp_path)
    one, other, alone = make(2), make(1), make(6)
    one.split_among_ranks(1, 3)
    one.next_own_batch()
    alone.next_own_batch()
    other.split_among_ranks(3, 4)
    other.restore(one.state())
    assert other.next_own_batch()[1].tolist() == alone.next_own_batch()[1][3:4].tolist()


def test_what_has_no_records_cannot_be_dealt_out() -> None:
    class Scalar(Counting):
        def next_batch(self) -> list[torch.Tensor]:
            return [torch.zeros(())]

    made = Scalar(1)
    assert made.next_own_batch()[0].ndim == 0
    made.split_among_ranks(0, 2)
    with pytest.raises(DataError, match="Scalar: a top without axes cannot be distributed over 2 processes"):
        made.next_own_batch()


def test_nets_read_their_own_records(tmp_path: Path) -> None:
    database(tmp_path)
    text = f"""layer {{ name: "d" type: "Data" top: "data" top: "label"
        data_param {{ backend: LMDB source: "{tmp_path / "lmdb"}" batch_size: 2 }} }}"""
    net = Net(prototxt.parse(text, schema.NetParameter(), "net"))
    net.sources["d"].split_among_ranks(1, 2)
    assert net.next_batch()["label"].tolist() == [1, 3]
