"""Data layers give what Caffe's gave, and the tools write what Caffe's wrote."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.images.mean import write_mean
from demitasse.caffe.models.blobs import blob_array
from demitasse.caffe.models.caffemodel import read_model
from demitasse.caffe.net import Net
from demitasse.caffe.sources import SOURCES
from demitasse.caffe.sources.database import datum_image
from demitasse.caffe.sources.memory import MemoryData
from demitasse.caffe.sources.store import BACKENDS
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools.compute_image_mean import compute_image_mean
from demitasse.caffe.tools.convert_imageset import convert_imageset
from demitasse.caffe.tools.convert_mnist_data import convert_mnist_data
from demitasse.caffe.tools.extract_features import extract_features
from demitasse.caffe.tools.image_datums import ImageOptions
from demitasse.caffe.training import solverstate
from demitasse.caffe.weights import load_weights
from tests.conftest import SHARED

# decoders of JPEG, ways to make grey of colour, and resizing differ by a level or two
WITHIN = {"lmdb_jpg_var": 2, "lmdb_force_gray": 1, "imagedata_resize_gray": 1}
CASES = sorted(folder.name for folder in (SHARED / "golden/layers").glob("data_*"))


def backend(name: str) -> str:
    return "leveldb" if "leveldb" in name else "lmdb"


def case_of(name: str, *before: str) -> Any:
    """Returns the case, marked where it needs LevelDB."""
    return pytest.param(*before, name, marks=pytest.mark.leveldb if backend(name) == "leveldb" else ())


def test_there_are_cases_of_every_source(shared: Path) -> None:
    types = {prototxt.read_net(shared / f"golden/layers/{case}/net.prototxt").layer[0].type for case in CASES}
    assert types <= set(SOURCES)
    assert len(CASES) == 24
    assert {f"data_{case}" for case in WITHIN} <= set(CASES)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("case", [*map(case_of, CASES)])
def test_batches_are_those_of_caffe(case: str, workers: int, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = WITHIN.get(case.removeprefix("data_"), 0)
    monkeypatch.chdir(shared / "golden/layers" / case)
    info = json.loads(Path("case.json").read_text())
    expected = np.load("data.npz")
    layer = prototxt.read_net("net.prototxt").layer[0]
    source = SOURCES[layer.type](layer, schema.TRAIN if info["phase"] == "TRAIN" else schema.TEST)
    source.workers = workers
    if isinstance(source, MemoryData):
        source.set_arrays(expected["array"], expected["labels"])
    passes = max(int(key.split("/")[0].removeprefix("pass")) for key in expected if key.startswith("pass"))
    for index in range(passes + 1):
        tops = source.next_batch()
        if index == 0:
            assert [tuple(top.shape) for top in tops] == source.shapes
        for name, top in zip(layer.top, tops, strict=True):
            wanted = expected[f"pass{index}/top/{name}"]
            assert top.numpy().shape == wanted.shape
            np.testing.assert_allclose(top.numpy(), wanted, rtol=0, atol=levels)


def test_the_file_of_an_output_layer_is_that_of_caffe(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = shared / "golden/layers/data_hdf5output"
    for name in ("a.h5", "b.h5", "list.txt", "net.prototxt"):
        shutil.copy(theirs / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    net = Net.from_file("net.prototxt")
    assert not Path("written.h5").exists()
    net(net.next_batch())
    with h5py.File("written.h5") as ours, h5py.File(theirs / "written.h5") as expected:
        assert sorted(ours) == sorted(expected) == ["data", "label"]
        for name in ours:
            assert ours[name].dtype == expected[name].dtype
            np.testing.assert_array_equal(ours[name], expected[name])


def records(path: Path, kind: str = "lmdb") -> dict[str, bytes]:
    with BACKENDS[kind].open(str(path)) as reader:
        return {key.decode(): value for key, value in reader.records()}


MODELS_AND_STATES = {"store", "solver.solverstate.h5", "hdf5_layout", "features_lmdb"}
INDEX = json.loads((SHARED / "golden/data/index.json").read_text()) if SHARED.is_dir() else {}
MEANS = {
    "mean_color": ("lmdb_color", "leveldb_color", "leveldb_color_table"),
    "mean_gray": ("lmdb_gray",),
    "mean_png": ("lmdb_png", "leveldb_png"),
    "mean_mnist": ("mnist_lmdb", "mnist_leveldb", "mnist_leveldb_table"),
}
DATABASES = sorted(name for name, entry in INDEX.items() if "entries" in entry)


def test_every_case_of_the_data_is_known(shared: Path) -> None:
    assert set(INDEX) == {*DATABASES, *(f"{mean}.binaryproto" for mean in MEANS), *MODELS_AND_STATES}
    folders = {path.name for path in (shared / "golden/data").iterdir() if path.is_dir()}
    assert folders == {*DATABASES, "features_lmdb", "img"}
    tools = {*IMAGE_SETS, "leveldb_color_table", "mnist_lmdb", "mnist_leveldb", "mnist_leveldb_table"}
    assert set(DATABASES) == tools


@pytest.mark.parametrize("name", [*map(case_of, DATABASES)])
def test_databases_of_caffe_are_read(name: str, shared: Path) -> None:
    folder = shared / "golden/data"
    found = records(folder / name, backend(name))
    expected = np.load(folder / f"{name}.npz")
    assert list(found) == [entry["key"] for entry in INDEX[name]["entries"]]
    for index, (value, entry) in enumerate(zip(found.values(), INDEX[name]["entries"], strict=True)):
        datum = schema.Datum.FromString(value)
        assert len(value) == entry["value_bytes"]
        assert (datum.label, len(datum.data)) == (entry["label"], entry["data_bytes"])
        assert (datum.encoded if datum.HasField("encoded") else None) == entry["encoded"]
        jpeg = datum.encoded and datum.data[:2] == b"\xff\xd8"
        image = datum_image(datum).astype(int)
        np.testing.assert_allclose(image, expected[f"image/{index}"], rtol=0, atol=2 if jpeg else 0)


@pytest.mark.parametrize(("mean", "name"), [case_of(name, mean) for mean, names in MEANS.items() for name in names])
def test_means_are_those_of_caffe(mean: str, name: str, shared: Path, tmp_path: Path) -> None:
    folder = shared / "golden/data"
    found, count = compute_image_mean(str(folder / name), backend(name))
    assert count == len(INDEX[name]["entries"])
    write_mean(tmp_path / "mean", found)
    assert (tmp_path / "mean").read_bytes() == (folder / f"{mean}.binaryproto").read_bytes()


MODELS = {"store.caffemodel": np.float32, "store.caffemodel.h5": np.float32, "store_double.caffemodel": np.float64}


@pytest.mark.parametrize("name", MODELS)
def test_caffemodels_of_every_form_are_read(name: str, shared: Path) -> None:
    expected = np.load(shared / "golden/data/store.npz")
    net = Net.from_file(shared / "golden/data/store.prototxt")
    assert set(load_weights(net, shared / "golden/data" / name)) >= {"conv1", "bn1", "sc", "ip_a"}
    for key in (key.removeprefix("param/") for key in expected if key.startswith("param/")):
        layer, index = key.split("/")
        found = net.layer(layer).blobs()[int(index)].detach().numpy()
        np.testing.assert_array_equal(found, expected[f"param/{key}"], err_msg=key)
    dtypes = {blob.dtype for layer in read_model(shared / "golden/data" / name) for blob in layer.blobs if blob.size}
    assert dtypes == {np.dtype(MODELS[name])}


def test_the_layout_of_hdf5_is_that_of_caffe(shared: Path) -> None:
    data = shared / "golden/data"
    state = solverstate.read(data / "solver.solverstate.h5")
    expected = np.load(data / "solver_state.npz")
    assert (state.iter, state.current_step) == (expected["iter"].item(), expected["current_step"].item())
    assert state.learned_net == INDEX["solver.solverstate.h5"]["learned_net"]
    for index, blob in enumerate(state.history):
        np.testing.assert_array_equal(blob_array(blob), expected[f"history/{index}"])
    assert f"history/{len(state.history)}" not in expected
    for name, layout in INDEX["hdf5_layout"].items():
        with h5py.File(data / name) as file:
            for key, what in layout.items():
                assert isinstance(file[key], h5py.Group) if what is None else list(file[key].shape) == what[0]


@pytest.mark.parametrize("kind", [*map(case_of, ["lmdb", "leveldb"])])
def test_features_are_those_of_caffe(kind: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, net, blob, _, batches, _ = INDEX["features_lmdb"]["args"]
    data = (shared / "golden/data").resolve()
    monkeypatch.chdir(shared / "golden/solvers/sgd_m9_L2")
    count = extract_features(data / weights, data / net, [blob], [tmp_path / "db"], int(batches), kind)
    ours, theirs = records(tmp_path / "db", kind), records(data / "features_lmdb")
    assert count == 64
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        mine, other = schema.Datum.FromString(ours[key]), schema.Datum.FromString(value)
        np.testing.assert_allclose(mine.float_data, other.float_data, rtol=1e-4, atol=1e-5)
        mine.ClearField("float_data"), other.ClearField("float_data")
        assert mine == other


# a tool's settings -> the database that Caffe's tool wrote with them
IMAGE_SETS = {
    "lmdb_color": ("list.txt", ImageOptions()),
    "lmdb_gray": ("list.txt", ImageOptions(gray=True)),
    "lmdb_resized": ("list.txt", ImageOptions(resize_height=8, resize_width=9)),
    "lmdb_png": ("list.txt", ImageOptions(encoded=True, encode_type="png")),
    "lmdb_jpg_var": ("list_var.txt", ImageOptions(encoded=True, encode_type="jpg")),
    "lmdb_encoded_auto": ("list_var.txt", ImageOptions(encoded=True)),
    "lmdb_var_raw_color": ("list_var.txt", ImageOptions()),
    "leveldb_color": ("list.txt", ImageOptions()),
    "leveldb_png": ("list.txt", ImageOptions(encoded=True, encode_type="png")),
}
SAME_BYTES = {"lmdb_color", "lmdb_png", "lmdb_encoded_auto", "leveldb_color", "leveldb_png"}


@pytest.mark.parametrize("case", [*map(case_of, IMAGE_SETS)])
def test_convert_imageset_writes_the_records_of_caffe(case: str, shared: Path, tmp_path: Path) -> None:
    data = shared / "golden/data"
    names, options = IMAGE_SETS[case]
    assert convert_imageset(data / "img", data / names, tmp_path / "db", options, backend=backend(case)) == 6
    ours, theirs = (records(path, backend(case)) for path in (tmp_path / "db", data / case))
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


@pytest.mark.parametrize("name", [*map(case_of, ["mnist_lmdb", "mnist_leveldb", "mnist_leveldb_table"])])
def test_convert_mnist_data_writes_the_records_of_caffe(name: str, shared: Path, tmp_path: Path) -> None:
    mnist = shared / "data/mnist"
    for part, header in (("images-idx3", 16), ("labels-idx1", 8)):
        with gzip.open(mnist / f"t10k-{part}-ubyte.gz") as file:
            whole = file.read(header + 20 * 784)
        size = 784 if header == 16 else 1
        content = whole[:4] + struct.pack(">I", 20) + whole[8 : header + 20 * size]
        (tmp_path / part).write_bytes(content)
    convert_mnist_data(tmp_path / "images-idx3", tmp_path / "labels-idx1", tmp_path / "db", backend(name))
    assert records(tmp_path / "db", backend(name)) == records(shared / "golden/data" / name, backend(name))


def test_features_are_read_from_float_data(shared: Path) -> None:
    expected = np.load(shared / "golden/data/features_lmdb.npz")["features"]
    found = [
        datum_image(schema.Datum.FromString(value)).ravel()
        for value in records(shared / "golden/data/features_lmdb").values()
    ]
    np.testing.assert_array_equal(np.stack(found), expected)
