"""Snapshots: what they hold, what they refuse, and that a failed one harms nothing."""

from __future__ import annotations

import json
import logging
import resource

import h5py
import numpy as np
import pytest
import torch

from demitasse.caffe.models.blobs import blob_array
from demitasse.caffe.training import snapshot, solverstate
from demitasse.caffe.training.solver import Solver
from demitasse.errors import FileFormatError, SnapshotError
from tests.training import net_text, solver_param

HDF5 = "max_iter: 20 snapshot_format: HDF5"


def blobs(solver):
    return [blob.clone() for layer in solver.net.named_layers().values() for blob in layer.blobs()]


@pytest.mark.parametrize("settings", ["max_iter: 20", HDF5])
@pytest.mark.parametrize("method", ["", "DNS", "INQ"])
@pytest.mark.parametrize("solver_type", ["SGD", "Adam"])
def test_a_resumed_run_is_the_unbroken_one(tmp_path, method, settings, solver_type):
    param = solver_param(tmp_path, method, settings)
    param.type = solver_type
    unbroken = Solver(param)
    unbroken.step(7)
    state = unbroken.snapshot()
    unbroken.step(8)
    param.random_seed = 99
    resumed = Solver(param)
    resumed.step(2)  # it has lived another life before
    resumed.restore(state)
    assert resumed.iter == 7
    resumed.step(8)
    for ours, expected in zip(blobs(resumed), blobs(unbroken), strict=True):
        assert torch.equal(ours, expected)
    for ours, expected in zip(resumed.optimizer.history, unbroken.optimizer.history, strict=True):
        assert torch.equal(ours, expected)
    assert list(resumed.losses) == list(unbroken.losses)


def test_a_run_without_a_seed_keeps_the_one_it_drew(tmp_path):
    param = solver_param(tmp_path, "DNS")
    param.ClearField("random_seed")
    first = Solver(param)
    first.step(3)
    path = first.snapshot()
    first.step(5)
    second = Solver(param)
    assert second.seed != first.seed
    second.restore(path)
    assert second.seed == first.seed
    second.step(5)
    for ours, expected in zip(blobs(second), blobs(first), strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("settings", ["max_iter: 20", HDF5])
def test_the_files_have_caffes_layout(tmp_path, settings):
    solver = Solver(solver_param(tmp_path, "DNS", settings))
    solver.step(3)
    path = solver.snapshot()
    ending = ".h5" if settings == HDF5 else ""
    assert path == tmp_path / f"snap_iter_3.solverstate{ending}"
    model = tmp_path / f"snap_iter_3.caffemodel{ending}"
    assert model.is_file()
    state = solverstate.read(path)
    assert (state.iter, state.learned_net, len(state.history)) == (3, str(model), 8)
    if settings == HDF5:
        with h5py.File(path) as file:
            assert file["iter"].shape == file["current_step"].shape == (1,)
            assert file["learned_net"].dtype.kind == "S"
            assert file["learned_net"].dtype.itemsize == len(str(model)) + 1
            assert file["history/0"].shape == (4, 1, 3, 3)
            assert file["history/0"].dtype == np.float32
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"data.h5", "data.txt", "net.prototxt", path.name, model.name}


def caffes_own(path):
    """Takes out of a solverstate what Caffe does not write."""
    state = solverstate.read(path)
    state.ClearField("resume")
    solverstate.write(state, path)


def test_caffes_own_state_restarts_the_data_and_says_so(tmp_path, caplog):
    param = solver_param(tmp_path, "DNS")
    solver = Solver(param)
    first = solver.net.next_batch()
    solver.step(4)
    path = solver.snapshot()
    caffes_own(path)
    again = Solver(param)
    again.restore(path)
    assert "the data restarts at the first record" in caplog.text
    assert all(torch.equal(first[name], batch) for name, batch in again.net.next_batch().items())


def test_surgery_takes_new_statistics_where_caffe_kept_none(tmp_path):
    param = solver_param(tmp_path, "DNS")
    solver = Solver(param)
    solver.step(6)
    path = solver.snapshot()
    kept = [layer.compression().marked for layer in solver.net.named_layers().values() if hasattr(layer, "draw")]
    caffes_own(path)
    again = Solver(param)
    again.restore(path)
    layers = [layer for layer in again.net.named_layers().values() if hasattr(layer, "draw")]
    assert [layer.statistics for layer in layers] == [None, None]
    again.step(1)
    assert all(layer.statistics.mean > 0 for layer in layers)
    assert sum(layer.compression().marked for layer in layers) < 1.2 * sum(kept)  # not all of it came back


def test_a_missing_caffemodel_is_named(tmp_path):
    param = solver_param(tmp_path)
    solver = Solver(param)
    path = solver.snapshot()
    (tmp_path / "snap_iter_0.caffemodel").unlink()
    with pytest.raises(SnapshotError, match=r"its caffemodel is missing; expected it at .*snap_iter_0\.caffemodel"):
        Solver(param).restore(path)


def test_a_moved_pair_is_found(tmp_path):
    param = solver_param(tmp_path)
    solver = Solver(param)
    solver.step(1)
    path = solver.snapshot()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file in tmp_path.glob("snap_*"):
        file.rename(elsewhere / file.name)
    again = Solver(param)
    again.restore(elsewhere / path.name)
    assert torch.equal(blobs(again)[0], blobs(solver)[0])


def other_net(param, folder, old, new):
    (folder / "other.prototxt").write_text(net_text(folder).replace(old, new))
    param.net = str(folder / "other.prototxt")
    return Solver(param)


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("num_output: 4 kernel_size: 3", "num_output: 5 kernel_size: 3", r"\[4, 1, 3, 3\].*\[5, 1, 3, 3\]"),
        ("kernel_size: 3 weight", "kernel_size: 3 bias_term: false weight", r"\[4\].*'ip1'.*\[4, 36\]"),
    ],
)
def test_another_nets_state_is_refused(tmp_path, ours, old, new, message):
    param = solver_param(tmp_path)
    path = Solver(param).snapshot()
    if not ours:
        caffes_own(path)
    other = other_net(param, tmp_path, old, new)
    before = blobs(other)
    with pytest.raises(SnapshotError, match=rf"written by another net.*{message}"):
        other.restore(path)
    assert all(torch.equal(a, b) for a, b in zip(before, blobs(other), strict=True))


def test_a_net_with_more_blobs_is_refused(tmp_path):
    param = solver_param(tmp_path)
    path = Solver(param).snapshot()
    extra = 'layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" inner_product_param { num_output: 2 } }'
    other = other_net(param, tmp_path, 'layer { name: "accuracy"', f'{extra}\nlayer {{ name: "accuracy"')
    with pytest.raises(SnapshotError, match=r"'small'\) with 4 blobs; this net has 6"):
        other.restore(path)


def test_another_solver_types_state_is_refused(tmp_path):
    param = solver_param(tmp_path)
    path = Solver(param).snapshot()
    param.type = "Adam"
    with pytest.raises(SnapshotError, match="found 4 history blobs, but solver type Adam needs 8"):
        Solver(param).restore(path)


@pytest.mark.parametrize("content", [b"", b"\x08", b"\x00\x01\x02", b"\x89HDF\r\n\x1a\n rubbish"])
def test_a_broken_state_is_refused(tmp_path, content):
    solver = Solver(solver_param(tmp_path))
    path = tmp_path / "broken.solverstate"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"broken\.solverstate"):
        solver.restore(path)


def test_a_caffemodel_is_not_a_state(tmp_path):
    solver = Solver(solver_param(tmp_path))
    solver.snapshot()
    with pytest.raises(FileFormatError, match="not a solverstate"):
        solver.restore(tmp_path / "snap_iter_0.caffemodel")


@pytest.fixture
def full_disk():
    """``full_disk(n)``: from now on no file may grow beyond n bytes, as on a disk without space."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("settings", ["max_iter: 20", HDF5])
@pytest.mark.parametrize("size", [100, 4000])  # the caffemodel fails, or only the solverstate
def test_a_full_disk_leaves_the_last_snapshot(tmp_path, full_disk, settings, size):
    solver = Solver(solver_param(tmp_path, settings=settings))
    solver.step(2)
    good = solver.snapshot()
    solver.step(2)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    full_disk(size)
    with pytest.raises(SnapshotError, match=rf"snap_iter_4.*cannot be written.*last good snapshot: {good}"):
        solver.snapshot()
    full_disk(resource.RLIM_INFINITY)
    after = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert {path: after[path] for path in before} == before
    assert not list(tmp_path.glob("*_4.solverstate*"))
    assert not list(tmp_path.glob(".*"))
    solver.restore(good)
    assert solver.iter == 2


def test_what_is_kept_is_plain_json(tmp_path):
    solver = Solver(solver_param(tmp_path, "DNS"))
    solver.step(2)
    state = solverstate.read(solver.snapshot())
    kept = json.loads(state.resume.json)
    assert set(kept) == {"net", "blobs", "seed", "generator", "cuda_rng", "other_ranks", "losses", "layers", "sources"}
    assert set(kept["layers"]) == {"conv1", "ip1"}
    assert len(state.resume.torch_rng) == torch.get_rng_state().numel()


def test_a_source_that_is_new_starts_at_its_beginning(tmp_path):
    solver = Solver(solver_param(tmp_path))
    snapshot.restore_sources(solver.net, {"another": {}})
    assert solver.net.next_batch()["data"].shape == (8, 1, 8, 8)


def test_recorded_states_are_read_and_written_back(shared, tmp_path):
    folder = shared / "golden" / "solvers"
    for name in ("adam/snap_iter_10.solverstate", "sgd_hdf5snap/snap_iter_10.solverstate.h5"):
        state = solverstate.read(folder / name)
        assert (state.iter, state.current_step) == (10, 0)
        for hdf5 in (False, True):
            copy = tmp_path / "copy"
            solverstate.write(state, copy, hdf5)
            again = solverstate.read(copy)
            assert again.learned_net == state.learned_net
            for ours, theirs in zip(again.history, state.history, strict=True):
                assert np.array_equal(blob_array(ours), blob_array(theirs))


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO, "demitasse.caffe")


def test_a_fault_of_the_program_is_not_the_snapshots(tmp_path, monkeypatch):
    solver = Solver(solver_param(tmp_path))
    path = solver.snapshot()

    def wrong(*arguments):
        raise error

    for place, name, error in (
        (snapshot, "load_weights", ValueError("a mistake")),
        (snapshot, "load_weights", RuntimeError("a mistake")),
        (snapshot, "restore_sources", AttributeError("a mistake")),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, wrong)
            with pytest.raises(type(error), match="a mistake") as caught:
                solver.restore(path)
        assert caught.value is error
    solver.restore(path)


def test_a_layers_damaged_state_is_named_with_its_cause(tmp_path):
    solver = Solver(solver_param(tmp_path, "DNS"))
    solver.step(1)
    path = solver.snapshot()
    state = solverstate.read(path)
    kept = json.loads(state.resume.json)
    kept["layers"]["ip1"] = {"means": 1}
    state.resume.json = json.dumps(kept).encode()
    solverstate.write(state, path)
    with pytest.raises(SnapshotError, match="of the run is damaged: layer 'ip1': TypeError") as caught:
        solver.restore(path)
    assert isinstance(caught.value.__cause__, TypeError)
