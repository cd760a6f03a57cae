"""A disk that is full: every writer says which file, and leaves what was there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import demitasse
from demitasse import examples, formats
from demitasse.caffe import log, schema
from demitasse.caffe.models import hdf5_file
from demitasse.caffe.models.blobs import array_blob
from demitasse.caffe.models.caffemodel import write_net_message
from demitasse.caffe.sources.store import write_database
from demitasse.errors import WriteError
from demitasse.files import atomic_write, write_text
from demitasse.pycaffe import windows
from demitasse.report import canvas

resource = pytest.importorskip("resource", reason="limits of POSIX")

RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(100, 100)).astype(np.float32)
MODEL = nn.Linear(100, 100)
DETECTIONS = [{"filename": f"{row}.jpg", "window": row[:4], "prediction": row} for row in NOISE]


def _checkpoint(path: Path) -> None:
    with atomic_write(path) as file:
        torch.save({"optimizer": torch.from_numpy(NOISE)}, file)


def _pack(path: Path) -> None:
    formats.pack(path.with_name("source.pt"), path)


def _picture(path: Path) -> None:
    with canvas.figure_at(path, 9, 9) as figure:
        figure.subplots().imshow(NOISE)


def _database(backend: str) -> Callable[[Path], None]:
    return lambda path: write_database(path, [(b"%04d" % i, NOISE.tobytes()) for i in range(9)], backend) and None


WRITERS: dict[str, Callable[[Path], object]] = {
    "net.demi": lambda path: demitasse.save(MODEL, path),
    "net.safetensors": lambda path: demitasse.save(MODEL, path),
    "net.pt": lambda path: demitasse.save(MODEL, path),
    "checkpoint.pt": _checkpoint,
    "packed.demi": _pack,
    "net.caffemodel": lambda path: write_net_message(
        schema.NetParameter(layer=[{"name": "x", "blobs": [array_blob(NOISE)]}]), path
    ),
    "net.caffemodel.h5": lambda path: hdf5_file.write_hdf5({"x": {0: NOISE}}, path),
    "table.txt": lambda path: write_text(path, "row\n" * 9999),
    "found.csv": lambda path: windows.write_detections(path, DETECTIONS),
    "found.h5": lambda path: windows.write_detections(path, DETECTIONS),
    "found.npy": lambda path: windows.write_detections(path, DETECTIONS),
    "picture.png": _picture,
    "picture.svg": _picture,
    "picture.pdf": _picture,
}


@pytest.fixture
def full_disk() -> Iterator[Callable[[int], None]]:
    """``full_disk(n)``: from now on no file may grow beyond n bytes, as on a disk without space."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 700, 4097])
@pytest.mark.parametrize("name", WRITERS)
def test_the_error_names_the_file_and_the_old_one_stays(
    tmp_path: Path, full_disk: Callable[[int], None], name: str, size: int
) -> None:
    torch.save(MODEL.state_dict(), tmp_path / "source.pt")
    target = tmp_path / name
    target.write_bytes(b"old")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    full_disk(size)
    with pytest.raises(WriteError, match=f"{name}: cannot be written: File too large; the existing file is un"):
        WRITERS[name](target)
    full_disk(resource.RLIM_INFINITY)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    WRITERS[name](target)
    assert target.stat().st_size > 4097


@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
def test_a_database_leaves_nothing(tmp_path: Path, full_disk: Callable[[int], None], backend: str) -> None:
    if backend == "leveldb":
        pytest.importorskip("plyvel")
    full_disk(20_000)
    with pytest.raises(WriteError, match=r"db: cannot be written: .*; nothing was written"):
        _database(backend)(tmp_path / "db")
    full_disk(resource.RLIM_INFINITY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", [True, False])
def test_examples_leave_no_partial_tree(tmp_path: Path, full_disk: Callable[[int], None], there: bool) -> None:
    folder = tmp_path / "examples"
    if there:
        folder.mkdir()
        (folder / "mine").write_bytes(b"old")
    before = sorted(tmp_path.rglob("*"))
    full_disk(5000)
    with pytest.raises(WriteError, match="prototxt: cannot be written: File too large"):
        examples.copy_examples(folder)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_log_says_which_file(tmp_path: Path, full_disk: Callable[[int], None]) -> None:
    def run() -> None:
        with log.to_stderr(tmp_path):
            log.info("solver.cpp:1", "a line that fits")
            full_disk(200)
            for _ in range(9):
                log.info("solver.cpp:2", "a line that fits no more")

    with pytest.raises(WriteError, match=r"demitasse\.INFO\..*: cannot be written: File too large; earlier snapshots"):
        run()
    full_disk(resource.RLIM_INFINITY)
    assert b"a line that fits\n" in next(tmp_path.iterdir()).read_bytes()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_device_that_is_full(tmp_path: Path) -> None:
    (tmp_path / "net.demi").symlink_to("/dev/full")
    with pytest.raises(WriteError, match=r"net\.demi: cannot be written: No space left on device"):
        demitasse.save(MODEL, tmp_path / "net.demi")
    assert (tmp_path / "net.demi").is_symlink()
