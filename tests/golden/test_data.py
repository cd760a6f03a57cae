"""Data layers give what Caffe's gave, and the tools write what Caffe's wrote."""

from __future__ import annotations

import gzip
import json
import struct
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from demitasse.caffe import prototxt, schema
from demitasse.caffe.sources import SOURCES
from demitasse.caffe.sources.database import datum_image
from demitasse.caffe.sources.lmdb_store import LmdbReader
from demitasse.caffe.sources.memory import MemoryData
from demitasse.caffe.tools.convert_imageset import ImageOptions, convert_imageset
from demitasse.caffe.tools.convert_mnist_data import convert_mnist_data

EXACT = [
    "dummy", "dummy_legacy", "hdf5", "hdf5output", "lmdb_crop_value", "lmdb_encoded_png", "lmdb_force_color",
    "lmdb_gray", "lmdb_mean_file", "lmdb_mean_file_crop", "lmdb_mean_value1", "lmdb_mean_value3",
    "lmdb_mirror_test", "lmdb_resized", "lmdb_scale", "memory", "mnist_no_label", "transform_train_fixed",
]  # fmt: skip
# decoders of JPEG, and ways to make grey of colour, differ by a level or two
WITHIN = {"lmdb_jpg_var": 2, "lmdb_force_gray": 1}


@pytest.mark.parametrize(("case", "levels"), [*((case, 0) for case in EXACT), *WITHIN.items()])
def test_batches_are_those_of_caffe(case: str, levels: float, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shared / "golden/layers" / f"data_{case}"
    monkeypatch.chdir(folder)
    info = json.loads(Path("case.json").read_text())
    expected = np.load("data.npz")
    layer = prototxt.read_net("net.prototxt").layer[0]
    source = SOURCES[layer.type](layer, schema.TRAIN if info["phase"] == "TRAIN" else schema.TEST)
    if isinstance(source, MemoryData):
        source.set_arrays(expected["array"], expected["labels"])
    passes = max(int(key.split("/")[0].removeprefix("pass")) for key in expected if key.startswith("pass"))
    for index in range(passes + 1):
        tops = source.read()
        if index == 0:
            assert [tuple(top.shape) for top in tops] == source.shapes
        for name, top in zip(layer.top, tops, strict=True):
            wanted = expected[f"pass{index}/top/{name}"]
            assert top.numpy().shape == wanted.shape
            np.testing.assert_allclose(top.numpy(), wanted, rtol=0, atol=levels)


def records(path: Path) -> dict[str, bytes]:
    reader = LmdbReader(str(path))
    return {key.decode(): value for key, value in islice(reader.records(), len(reader))}


# a tool's settings -> the database that Caffe's tool wrote with them
IMAGE_SETS = {
    "lmdb_color": ("list.txt", ImageOptions()),
    "lmdb_gray": ("list.txt", ImageOptions(gray=True)),
    "lmdb_resized": ("list.txt", ImageOptions(resize_height=8, resize_width=9)),
    "lmdb_png": ("list.txt", ImageOptions(encoded=True, encode_type="png")),
    "lmdb_jpg_var": ("list_var.txt", ImageOptions(encoded=True, encode_type="jpg")),
    "lmdb_encoded_auto": ("list_var.txt", ImageOptions(encoded=True)),
    "lmdb_var_raw_color": ("list_var.txt", ImageOptions()),
}
SAME_BYTES = {"lmdb_color", "lmdb_png", "lmdb_encoded_auto"}


@pytest.mark.parametrize("case", IMAGE_SETS)
def test_convert_imageset_writes_the_records_of_caffe(case: str, shared: Path, tmp_path: Path) -> None:
    data = shared / "golden/data"
    names, options = IMAGE_SETS[case]
    assert convert_imageset(data / "img", data / names, tmp_path / "db", options) == 6
    ours, theirs = records(tmp_path / "db"), records(data / case)
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        if case in SAME_BYTES:
            assert ours[key] == value
        else:
            assert_close(ours[key], value, levels=1 if case in ("lmdb_resized", "lmdb_gray") else 2)


def assert_close(ours: bytes, theirs: bytes, levels: int) -> None:
    """All fields are equal but the pixels, which may differ by some levels."""
    mine, other = schema.Datum.FromString(ours), schema.Datum.FromString(theirs)
    np.testing.assert_allclose(datum_image(mine).astype(int), datum_image(other).astype(int), rtol=0, atol=levels)
    mine.ClearField("data"), other.ClearField("data")
    assert mine == other


def test_convert_mnist_data_writes_the_records_of_caffe(shared: Path, tmp_path: Path) -> None:
    mnist = shared / "data/mnist"
    for name, header in (("images-idx3", 16), ("labels-idx1", 8)):
        with gzip.open(mnist / f"t10k-{name}-ubyte.gz") as file:
            whole = file.read(header + 20 * 784)
        size = 784 if header == 16 else 1
        content = whole[:4] + struct.pack(">I", 20) + whole[8 : header + 20 * size]
        (tmp_path / name).write_bytes(content)
    convert_mnist_data(tmp_path / "images-idx3", tmp_path / "labels-idx1", tmp_path / "db")
    assert records(tmp_path / "db") == records(shared / "golden/data/mnist_lmdb")


def test_features_are_read_from_float_data(shared: Path) -> None:
    expected = np.load(shared / "golden/data/features_lmdb.npz")["features"]
    found = [
        datum_image(schema.Datum.FromString(value)).ravel()
        for value in records(shared / "golden/data/features_lmdb").values()
    ]
    np.testing.assert_array_equal(np.stack(found), expected)
