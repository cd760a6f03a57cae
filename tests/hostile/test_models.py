"""Caffemodels, means and solverstates that are damaged: a typed error, or blobs of the shapes that they have."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.images import mean
from demitasse.caffe.images.mean import write_mean
from demitasse.caffe.models import caffemodel
from demitasse.caffe.models.blobs import array_blob
from demitasse.caffe.models.caffemodel import parse_model, parse_net_message
from demitasse.caffe.net import Net
from demitasse.caffe.schema import dialects
from demitasse.caffe.text import prototxt
from demitasse.caffe.training import snapshot, solverstate
from demitasse.caffe.training.solver import Solver
from demitasse.caffe.upgrade import upgrade_net
from demitasse.caffe.weights import load_weights, net_message, save_weights
from demitasse.errors import DemitasseError, FileFormatError, SnapshotError
from tests.hostile.mutations import binaries
from tests.hostile.nets import AXES, COMPRESSED, TINY, V0, V1


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("demitasse.caffe"), "disabled", True)


def old_models() -> list[bytes]:
    """Returns models of V1 and V0, whose blobs have four axes."""
    found = []
    for text in (V1, V0):
        message = prototxt.parse(text, schema.NetParameter(), "net")
        blobs = {name: layer.blobs() for name, layer in Net(message).named_layers().items()}
        for outer in message.layers:
            layer = outer.layer if outer.HasField("layer") else outer
            for tensor in blobs.get(layer.name, []):
                blob = layer.blobs.add(data=array_blob(tensor.detach().numpy()).data)
                blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - tensor.ndim) + tuple(tensor.shape)
        found.append(message.SerializeToString())
    return found


def new_models() -> list[bytes]:
    """Returns models of today, of the fork's layers too."""
    nets = [Net(prototxt.parse(text, schema.NetParameter(), "net")) for text in (AXES, COMPRESSED)]
    return [dialects.to_file_numbers(net_message(net).SerializeToString()) for net in nets]


def attempt(count: int, seed: int, seeds: list[bytes], act: Callable[[bytes], Any]) -> Counter[str]:
    """Damages files and acts on them; returns how often it went well, and how often each error was raised."""
    ends: Counter[str] = Counter()
    for data in binaries(seeds, count, seed):
        try:
            act(data)
            ends["well"] += 1
        except DemitasseError as error:
            ends[type(error).__name__] += 1
    return ends


def read_model(data: bytes) -> None:
    for layer in parse_model(data, "model"):
        assert isinstance(layer.name, str)
        assert all(blob.dtype in (np.float32, np.float64) for blob in layer.blobs)


def print_and_upgrade(data: bytes) -> None:
    message = parse_net_message(data, "model", text=True)
    assert isinstance(str(upgrade_net(message, "model")), str)


def read_mean(data: bytes) -> None:
    Path("mean").write_bytes(data)
    assert mean.read_mean("mean").ndim == 3


def means() -> list[bytes]:
    write_mean("mean", np.ones((2, 3, 4), np.float32))
    return [Path("mean").read_bytes(), array_blob(np.ones((2, 3, 4), np.float32)).SerializeToString()]


def load_hdf5(net: Net) -> Callable[[bytes], None]:
    def load(data: bytes) -> None:
        Path("model").write_bytes(data)
        load_weights(net, "model")

    return load


def trained(hdf5: bool) -> tuple[Solver, bytes]:
    """Returns a solver and what its solverstate holds."""
    text = (
        f"net_param {{ {TINY.replace('InnerProduct', 'DNSInnerProduct')} }} base_lr: 0.1 lr_policy: 'fixed' "
        f"momentum: 0.9 snapshot_prefix: 's' snapshot_format: {'HDF5' if hdf5 else 'BINARYPROTO'} "
        "random_seed: 3 solver_mode: CPU"
    )
    solver = Solver(prototxt.parse(text, schema.SolverParameter(), "solver"))
    solver.step(2)
    return solver, solver.snapshot().read_bytes()


def restore(solver: Solver) -> Callable[[bytes], None]:
    def take(data: bytes) -> None:
        Path("state").write_bytes(data)
        snapshot.restore(solver, "state")

    return take


def test_damaged_models_of_old() -> None:
    assert attempt(3000, 0, old_models(), read_model)["well"] > 300
    assert attempt(1000, 1, old_models(), print_and_upgrade)["well"] > 100


def test_damaged_models() -> None:
    assert attempt(2000, 2, new_models(), read_model)["well"] > 200


def test_damaged_models_in_hdf5() -> None:
    net = Net(prototxt.parse(COMPRESSED, schema.NetParameter(), "net"))
    save_weights(net, "whole", hdf5=True)
    assert attempt(150, 3, [Path("whole").read_bytes()], load_hdf5(net))["well"] > 10


def test_damaged_means() -> None:
    assert attempt(300, 4, means(), read_mean)["well"] > 30


@pytest.mark.parametrize("hdf5", [False, True], ids=["binary", "hdf5"])
def test_damaged_solverstates(hdf5: bool) -> None:
    solver, data = trained(hdf5)
    ends = attempt(100 if hdf5 else 200, 5, [data], restore(solver))
    assert ends["well"] > 5
    assert ends["FileFormatError"] > 5
    assert ends["SnapshotError"] > 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 13))
def test_more_damaged_files(seed: int) -> None:
    attempt(20000, seed, [*old_models(), *new_models()], read_model)
    attempt(8000, seed, [*old_models(), *new_models()], print_and_upgrade)
    net = Net(prototxt.parse(COMPRESSED, schema.NetParameter(), "net"))
    save_weights(net, "whole", hdf5=True)
    attempt(3000, seed, [Path("whole").read_bytes()], load_hdf5(net))
    attempt(4000, seed, means(), read_mean)
    for hdf5 in (False, True):
        solver, data = trained(hdf5)
        attempt(3000, seed, [data], restore(solver))


def test_a_model_of_old_that_is_cut_short() -> None:
    for data in old_models():
        ends = {field.end for field in dialects.fields(data, 0, len(data))}
        for length in range(1, len(data), 3):
            if length not in ends:  # a cut between two layers is a shorter model
                with pytest.raises(FileFormatError, match=r"^model: byte"):
                    parse_model(data[:length], "model")


def model(**fields: Any) -> bytes:
    """Returns a model of one layer with one blob."""
    message = schema.NetParameter()
    message.layer.add(name="ip").blobs.add(**fields)
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            model(shape={"dim": [2] * 2000000}),
            "blob 0 of layer 'ip': found a blob with 2000000 axes; expected at most 32",
        ),
        (model(shape={"dim": [0, 2**62, 2**62]}), "blob 0 of layer 'ip': shape .* is not a valid blob shape"),
        (model(shape={"dim": [-1, -1]}, data=b"1234"), "blob 0 of layer 'ip': shape .* needs 4 bytes"),
        (model(num=-1, channels=-1, data=b"1234"), "blob 0 of layer 'ip': shape"),
        (
            model(shape={"dim": [2**31, 2**31]}, data=b"1234"),
            "blob 0 of layer 'ip': shape .* needs 18446744073709551616 bytes of values",
        ),
        (b"\x0a\x03a\xffb", "NetParameter.name is not UTF-8 text"),
        (b"\xa2\x06\x05\x1a\x03a\xffb", "LayerParameter.bottom is not UTF-8 text"),
        (b"\x12\x04\x22\x02\xff\xff", "V1LayerParameter.name is not UTF-8 text"),
    ],
)
def test_what_no_model_says(data: bytes, message: str) -> None:
    with pytest.raises(FileFormatError, match=f"^model: {message}"):
        parse_model(data, "model")


def test_a_message_of_millions_of_fields_takes_no_memory_of_its_own() -> None:
    layer = b"\x12\x04ReLU" + 300000 * b"\x2d\x00\x00\x00\x00"  # loss_weight
    data = b"\xa2\x06" + b"\xe6\xc6\x5b" + layer
    assert len(layer) == 1500006
    assert len(parse_net_message(data, "model").layer[0].loss_weight) == 300000


def hdf5(make: Callable[[h5py.Group], Any]) -> None:
    with h5py.File("model", "w") as file:
        make(file.create_group("data").create_group("ip"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda group: group.create_dataset("0", (2**20, 2**20), "f4"), "blob 0 declares 4398046511104 bytes"),
        (lambda group: group.create_dataset("0", (2**20,), "f4", chunks=(64,)), "but the file contains only 0"),
        (
            lambda group: group.create_dataset("999999999999", data=[1.0]),
            "has blob 999999999999; expected at most 1000 blobs",
        ),
        (lambda group: group.create_dataset("0", data="text"), "blob 0 has values of type object; expected numbers"),
        (lambda group: group.create_dataset("-7", data=[1.0]), "has a blob named '-7'; expected numbers"),
        (lambda group: group.create_dataset("weight", data=[1.0]), "has a blob named 'weight'; expected numbers"),
        (lambda group: group.create_group("0"), None),
        (lambda group: group.__setitem__("0", h5py.SoftLink("/data/ip/0")), "links form a cycle"),
        (lambda group: group.__setitem__("0", h5py.ExternalLink("other", "/")), "is a link to another file"),
    ],
)
def test_what_no_hdf5_model_says(make: Callable[[h5py.Group], Any], message: str | None) -> None:
    hdf5(make)
    if message is None:
        assert caffemodel.read_model("model") == [("ip/0", "", [])]  # a layer of that name, without blobs
        return
    with pytest.raises(FileFormatError, match=message):
        caffemodel.read_model("model")


@pytest.mark.parametrize("dtype", ["i2", "u1", "f2", ">f4", "f4"])
def test_numbers_of_any_width_are_read_from_hdf5(dtype: str) -> None:
    hdf5(lambda group: group.create_dataset("0", data=np.arange(6).reshape(2, 3).astype(dtype)))
    blob = caffemodel.read_model("model")[0].blobs[0]
    assert blob.dtype == np.float32
    assert blob.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("iteration", [-1, -(2**31)])
def test_a_solverstate_of_no_iteration(iteration: int) -> None:
    Path("state").write_bytes(schema.SolverState(iter=iteration, learned_net="m").SerializeToString())
    with pytest.raises(FileFormatError, match="state: not a solverstate"):
        solverstate.read("state")


@pytest.mark.parametrize("resume", [b"{", b"[]", b'{"layers": 3}', b'{"blobs": [[1]]}', b"\xff", b'{"net": "x"}'])
def test_a_solverstate_that_says_nonsense_of_the_run(resume: bytes) -> None:
    solver, data = trained(hdf5=False)
    state = schema.SolverState.FromString(data)
    state.resume.json = resume
    Path("state").write_bytes(state.SerializeToString())
    with pytest.raises(SnapshotError, match=r"^state: (the stored state of the run is damaged|written by another net)"):
        snapshot.restore(solver, "state")


def test_a_name_in_hdf5_that_is_no_text() -> None:
    with h5py.File("model", "w") as file:
        file.create_group("data").create_group(b"\xff")
    with pytest.raises(FileFormatError, match=r"the name b'\\xff' is not UTF-8"):
        caffemodel.read_model("model")
