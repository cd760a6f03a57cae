"""An HDF5 file of a stranger gives what it holds itself, and no other file of the machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.models import hdf5_file
from demitasse.caffe.models.blobs import array_blob
from demitasse.caffe.models.caffemodel import read_model
from demitasse.caffe.net import Net
from demitasse.caffe.sources import SOURCES
from demitasse.caffe.text import prototxt
from demitasse.caffe.training import solverstate
from demitasse.caffe.weights import load_weights, save_weights
from demitasse.errors import DataError, FileFormatError, WeightsError
from demitasse.formats import pack

SECRET = b"root:x:0:0:root:/root:/bin/bash\n"


def by_storage(group: h5py.Group, name: str, secret: Path) -> None:
    group.create_dataset(name, (len(SECRET),), np.uint8, external=[(str(secret), 0, len(SECRET))])


def by_link(group: h5py.Group, name: str, secret: Path) -> None:
    other = secret.with_suffix(".h5")
    with h5py.File(other, "w") as file:
        file["x"] = np.ones(3, np.float32)
    group[name] = h5py.ExternalLink(str(other), "x")


def by_soft_link_and_link(group: h5py.Group, name: str, secret: Path) -> None:
    by_link(group.file, "outside", secret)
    group[name] = h5py.SoftLink("/outside")


def by_virtual(group: h5py.Group, name: str, secret: Path) -> None:
    other = secret.with_suffix(".h5")
    with h5py.File(other, "w") as file:
        file["x"] = np.ones(3, np.float32)
    layout = h5py.VirtualLayout((3,), np.float32)
    layout[:] = h5py.VirtualSource(str(other), "x", (3,))
    group.create_virtual_dataset(name, layout)


def by_itself(group: h5py.Group, name: str, secret: Path) -> None:
    group.file["x"] = np.ones(3, np.float32)
    layout = h5py.VirtualLayout((3,), np.float32)
    layout[:] = h5py.VirtualSource(".", "x", (3,))
    group.create_virtual_dataset(name, layout)


def in_a_circle(group: h5py.Group, name: str, secret: Path) -> None:
    group[name] = h5py.SoftLink(f"{group.name}/second")
    group["second"] = h5py.SoftLink(f"{group.name}/{name}")


def by_reference(group: h5py.Group, name: str, secret: Path) -> None:
    group.file["x"] = np.ones(3, np.float32)
    group.create_dataset(name, data=np.array([group.file["x"].regionref[:2]], h5py.regionref_dtype))


Trick = Callable[[h5py.Group, str, Path], None]
TRICKS = [by_storage, by_link, by_soft_link_and_link, by_virtual, by_itself, in_a_circle, by_reference]
tricks = pytest.mark.parametrize("trick", TRICKS, ids=[trick.__name__ for trick in TRICKS])
REFUSED = r"another file|made of other datasets|links form a cycle|expected numbers|no dataset 'data'"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    return path


@tricks
def test_weights_are_those_of_the_file_itself(tmp_path: Path, secret: Path, trick: Trick) -> None:
    path = tmp_path / "net.caffemodel.h5"
    with h5py.File(path, "w") as file:
        trick(file.create_group("data/ip"), "0", secret)
    for read in (read_model, lambda path: pack(path, tmp_path / "out.demi")):
        with pytest.raises(FileFormatError, match=REFUSED):
            read(path)


@tricks
def test_data_is_that_of_the_file_itself(tmp_path: Path, secret: Path, trick: Trick) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        trick(file, "data", secret)
    (tmp_path / "list.txt").write_text(str(tmp_path / "a.h5"))
    spec = schema.LayerParameter(top=["data"])
    spec.hdf5_data_param.source, spec.hdf5_data_param.batch_size = str(tmp_path / "list.txt"), 1
    with pytest.raises(DataError, match=REFUSED):
        SOURCES["HDF5Data"](spec, schema.TRAIN).next_batch()


@pytest.mark.parametrize("name", ["iter", "learned_net", "history/0"])
def test_a_solverstate_is_that_of_the_file_itself(tmp_path: Path, secret: Path, name: str) -> None:
    path = tmp_path / "a.solverstate.h5"
    state = schema.SolverState(iter=3, learned_net="a.caffemodel")
    state.history.append(array_blob(np.ones(2, np.float32)))
    solverstate.write(state, path, hdf5=True)
    assert solverstate.read(path).learned_net == "a.caffemodel"
    with h5py.File(path, "a") as file:
        del file[name]
        by_storage(file, name, secret)
    with pytest.raises(FileFormatError, match="are in another file"):
        solverstate.read(path)


@pytest.mark.parametrize("link", [h5py.ExternalLink("secret.h5", "/"), h5py.SoftLink("/data"), "hard"])
def test_a_layer_is_a_group_of_the_file_and_not_a_link_to_others(tmp_path: Path, link: object) -> None:
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("data/a")
        group["b"] = group if link == "hard" else link
    with pytest.raises(FileFormatError, match=r"a link to another file|also has another name"):
        read_model(path)


def test_soft_links_inside_of_the_file_are_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file["elsewhere/x"] = np.arange(3, dtype=np.float32)
        file["data/ip/0"] = h5py.SoftLink("/elsewhere/./x")
    ((name, (blob,)),) = hdf5_file.read_hdf5(tmp_path / "net.h5")
    assert (name, blob.tolist()) == ("ip", [0, 1, 2])


@pytest.mark.parametrize("name", ["-1", "x", "01", "1.5"])
def test_a_blob_that_is_not_numbered_from_0_is_refused(tmp_path: Path, name: str) -> None:
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file[f"data/ip/{name}"] = np.ones(2, np.float32)
    with pytest.raises(FileFormatError, match=f"layer 'ip' has a blob named '{name}'; expected numbers from 0"):
        read_model(tmp_path / "net.h5")


def test_names_with_slashes_are_read_as_they_were_written(tmp_path: Path) -> None:
    layers = {name: {0: np.full(2, i, np.float32)} for i, name in enumerate(("a/b", "a/c/d", "..", "e", "e/f", "g."))}
    hdf5_file.write_hdf5({**layers, "relu": {}}, tmp_path / "net.h5")
    read = dict(hdf5_file.read_hdf5(tmp_path / "net.h5"))
    assert {name: [blob.tolist() for blob in blobs] for name, blobs in read.items()} == {
        **{name: [blobs[0].tolist()] for name, blobs in layers.items()},
        "relu": [],
    }


@pytest.mark.parametrize("name", ["", ".", "a/", "/a", "a//b", "a/./b", "a\0b"])
def test_a_name_that_hdf5_cannot_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match="HDF5 cannot store this name; rename the layer, or write binary proto"):
        hdf5_file.write_hdf5({"b": {}, name: {0: np.ones(2, np.float32)}}, tmp_path / "net.h5")
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_a_blob_of_another_layer_is_refused(tmp_path: Path) -> None:
    one = {0: np.ones(2, np.float32)}
    with pytest.raises(WeightsError, match="layer 'a/0': its name conflicts with another layer's in HDF5"):
        hdf5_file.write_hdf5({"a": one, "a/0": one}, tmp_path / "net.h5")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (h5py.SoftLink("/nowhere"), "blob 0 is a broken link; expected a dataset"),
        (h5py.Empty("f"), "blob 0: the dataset has no values"),
        (np.dtype("f"), "blob 0 is a named datatype; expected a dataset"),
    ],
)
def test_a_blob_that_is_none_is_refused_with_its_place(tmp_path: Path, value: object, message: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("data/ip")["0"] = value
    with pytest.raises(FileFormatError, match=f"a.h5: layer 'ip': {message}"):
        read_model(tmp_path / "a.h5")


def test_a_layer_that_is_a_link_to_nowhere_is_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("data")["ip"] = h5py.SoftLink("/nowhere")
    with pytest.raises(FileFormatError, match="layer 'ip' is a broken link; expected a group"):
        read_model(tmp_path / "a.h5")


def test_layers_without_a_name_go_by_their_number(tmp_path: Path) -> None:
    layer = """layer { type: "InnerProduct" bottom: "x" top: "TOP" inner_product_param { num_output: 2
      weight_filler { type: "constant" value: VALUE } } }"""
    text = 'input: "x" input_shape { dim: 1 dim: 3 }' + "".join(
        layer.replace("TOP", f"y{value}").replace("VALUE", value) for value in "57"
    )
    net = Net(prototxt.parse(text, schema.NetParameter(), "net"))
    save_weights(net, tmp_path / "a.h5", hdf5=True)
    with h5py.File(tmp_path / "a.h5") as file:
        assert {name: file[f"data/{name}/0"][0, 0] for name in file["data"] if len(file[f"data/{name}"])} == {
            "#1": 5,
            "#2": 7,
        }
    assert load_weights(net, tmp_path / "a.h5") == ["#1", "#2"]


@pytest.mark.skipif(os.name == "nt", reason="locks of POSIX")
def test_a_file_that_another_program_has_locked_is_read(tmp_path: Path) -> None:
    import fcntl

    path = tmp_path / "net.caffemodel.h5"
    hdf5_file.write_hdf5({"fc": {0: np.ones(3, np.float32)}}, path)
    with path.open("rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        [(name, [array])] = hdf5_file.read_hdf5(path)
    assert (name, array.tolist()) == ("fc", [1, 1, 1])


def test_only_the_librarys_errors_are_the_files(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    hdf5_file.write_hdf5({"ip": {0: np.ones(2, np.float32)}}, path)
    with pytest.raises(KeyError, match="a mistake"), hdf5_file.open_hdf5(path, "a caffemodel"):
        raise KeyError("a mistake")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FileFormatError, match="not a caffemodel") as caught:
        hdf5_file.read_hdf5(path)
    assert isinstance(caught.value.__cause__, OSError)
