"""Solvers: what scripts call, and blobs that live through the training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demitasse import pycaffe as caffe
from demitasse.caffe.text import prototxt
from demitasse.caffe.training.solver import Solver as CaffeSolver
from demitasse.errors import PrototxtError, UsageError
from tests.pycaffe.nets import SMALL, input_layer
from tests.training import net_text, solver_text

SETTINGS = {
    "test_iter": 2,
    "test_interval": 10,
    "base_lr": 0.01,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "lr_policy": '"inv"',
    "gamma": 0.0001,
    "power": 0.75,
    "display": 100,
    "max_iter": 100,
    "snapshot_after_train": "false",
    "random_seed": 1,
}
NO_TEST = {"test_iter": None, "test_interval": None}


def write(folder: Path, net: str = SMALL, **settings: object) -> str:
    """Writes net and solver into the folder; a setting of None is left out."""
    (folder / "net.prototxt").write_text(net)
    path = folder / "solver.prototxt"
    lines = [f"{name}: {value}" for name, value in {**SETTINGS, **settings}.items() if value is not None]
    path.write_text("\n".join([f'net: "{folder}/net.prototxt" snapshot_prefix: "{folder}/model"', *lines]))
    return str(path)


@pytest.fixture
def solver(tmp_path: Path) -> caffe.SGDSolver:
    solver = caffe.SGDSolver(write(tmp_path))
    for net in (solver.net, solver.test_nets[0]):
        net.blobs["label"].data[...] = np.arange(5)
    return solver


def test_solve(solver: caffe.SGDSolver):
    assert solver.iter == 0
    assert (solver.param.max_iter, solver.param.display, solver.param.layer_wise_reduce) == (100, 100, True)
    solver.solve()
    assert solver.iter == 100
    assert solver.net.blobs["label"].data.tolist() == [0, 1, 2, 3, 4]


def test_apply_update(solver: caffe.SGDSolver):
    blob = solver.net.layers[1].blobs[0]
    data = blob.data
    data[...] = 0
    blob.diff[...] = 1
    solver.apply_update()
    np.testing.assert_allclose(data, -0.01, rtol=1e-5)
    assert solver.iter == 0


def test_nets_outlive_the_solver(solver: caffe.SGDSolver):
    nets = [solver.net, *solver.test_nets]
    assert len(nets) == 2
    del solver
    for net in nets:
        net.forward()
        assert np.isfinite(net.blobs["loss"].data)
        assert not any(blob.diff.any() for blobs in net.params.values() for blob in blobs)


def test_snapshot_and_restore(tmp_path: Path, solver: caffe.SGDSolver):
    solver.step(3)
    weight = solver.net.params["conv"][0].data
    before = weight.copy()
    solver.snapshot()
    assert (tmp_path / "model_iter_3.caffemodel").is_file()
    state = str(tmp_path / "model_iter_3.solverstate")
    solver.step(2)
    assert not np.array_equal(weight, before)
    solver.restore(state)
    assert solver.iter == 3
    assert np.array_equal(weight, before)
    again = caffe.get_solver(write(tmp_path, max_iter=5))
    again.solve(state)
    assert again.iter == 5


def test_a_step_is_caffes(tmp_path: Path):
    """The loop that runs the net as a whole gives the same weights."""
    text = solver_text(tmp_path, settings="max_iter: 6 iter_size: 2 test_iter: 2 test_interval: 2 display: 1")
    (tmp_path / "solver.prototxt").write_text(text)
    # dropout draws in the order of memory, which differs
    net = "".join(line for line in net_text(tmp_path).splitlines(True) if "Dropout" not in line)
    (tmp_path / "net.prototxt").write_text(net)
    solver = caffe.get_solver(str(tmp_path / "solver.prototxt"))
    solver.step(6)
    whole = CaffeSolver(prototxt.read_solver(tmp_path / "solver.prototxt"))
    whole.step(6)
    for name, layer in whole.net.named_layers().items():
        for ours, theirs in zip(solver.net.params.get(name, []), layer.blobs(), strict=True):
            np.testing.assert_allclose(ours.data, theirs.detach(), rtol=1e-4, atol=1e-6)


def test_blobs_and_diffs_after_a_step(solver: caffe.SGDSolver):
    conv = solver.net.params["conv"][0]
    held = conv.data
    for _ in range(2):
        before = held.copy()
        solver.step(1)
        # as in Caffe, what was subtracted stands in the diff
        np.testing.assert_allclose(conv.diff, before - held, rtol=1e-3, atol=1e-5)
    assert conv.diff.any()
    scores = solver.net.blobs["ip_blob"]
    softmax = np.exp(scores.data - scores.data.max(1, keepdims=True))
    softmax /= softmax.sum(1, keepdims=True)
    np.testing.assert_allclose(scores.diff, (softmax - np.eye(13)[:5]) / 5, rtol=1e-3, atol=1e-5)
    assert float(solver.net.blobs["loss"].diff) == 1


@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam", "LarsSGD"])
def test_types(tmp_path: Path, kind: str):
    settings = {"momentum": None} if kind in ("AdaGrad", "RMSProp") else {}
    if kind == "RMSProp":
        settings["rms_decay"] = 0.9
    solver = caffe.get_solver(write(tmp_path, type=f'"{kind}"', **settings))
    assert type(solver) is getattr(caffe, f"{kind}Solver")
    assert type(solver._training.optimizer).__name__ == kind
    weight = solver.net.params["ip"][0]
    before = weight.data.copy()
    solver.step(1)
    np.testing.assert_allclose(weight.diff, before - weight.data, rtol=1e-2, atol=1e-6)


def test_the_class_goes_before_the_files_type(tmp_path: Path):
    assert caffe.AdamSolver(write(tmp_path, type='"SGD"')).param.type == "Adam"


def test_weights_are_live_for_tests_and_other_nets(tmp_path: Path, solver: caffe.SGDSolver):
    other = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    solver.share_weights(other)
    solver.step(1)
    for net in (*solver.test_nets, other):
        assert np.array_equal(net.params["ip"][0].data, solver.net.params["ip"][0].data)
    solver.net.params["ip"][0].data[...] = 0
    solver.net.params["ip"][1].data[...] = np.arange(13)
    for net in (*solver.test_nets, other):
        assert net.forward(end="ip")["ip_blob"][0].tolist() == list(range(13))


def test_a_loop_of_ones_own(tmp_path: Path):
    text = (
        input_layer("data", 4, 3)
        + input_layer("label", 4)
        + """
    layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }"""
    )
    solver = caffe.SGDSolver(write(tmp_path, text, **NO_TEST))
    solver.net.blobs["data"].data[...] = np.eye(4, 3)
    solver.net.blobs["label"].data[...] = [0, 1, 2, 0]
    losses = []
    for _ in range(20):
        solver.net.clear_param_diffs()
        losses.append(float(solver.net.forward()["loss"]))
        solver.net.backward()
        solver.apply_update()
    assert losses == sorted(losses, reverse=True)
    before = losses[-1]
    solver.step(5)  # the caller's data stays in the blobs
    assert float(solver.net.blobs["loss"].data) < before


def test_callbacks(solver: caffe.SGDSolver):
    seen: list[tuple[str, int, bool]] = []

    def note(what: str) -> None:
        seen.append((what, solver.iter, bool(solver.net.params["ip"][0].diff.any())))

    solver.add_callback(lambda: note("start"), lambda: note("ready"))
    solver.step(2)
    assert seen == [("start", 0, False), ("ready", 0, True), ("start", 1, False), ("ready", 1, True)]


def test_gradients_may_be_changed_before_the_update(solver: caffe.SGDSolver):
    def stop() -> None:
        solver.net.clear_param_diffs()

    bias = solver.net.params["conv"][1].data  # without decay
    bias[...] = 2
    solver.add_callback(lambda: None, stop)
    solver.step(1)
    assert bias.tolist() == [2] * 11


def test_debug_info_shows_both_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    solver = caffe.get_solver(write(tmp_path, debug_info="true", display=1))
    caffe.init_log()
    try:
        solver.step(1)
    finally:
        caffe.init_log(0, False)
    text = capsys.readouterr().err
    assert "[Forward] Layer ip, top blob ip_blob data: " in text
    assert "[Backward] Layer ip, bottom blob conv diff: " in text


def test_seeds_repeat_a_run(tmp_path: Path):
    path = write(tmp_path, random_seed=None)
    runs = []
    for seed in (5, 5, 6):
        caffe.set_random_seed(seed)
        solver = caffe.get_solver(path)
        solver.step(1)
        runs.append(solver.net.params["ip"][0].data.copy())
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_wrong_use(tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"Could not open file .*no\.prototxt"):
        caffe.SGDSolver(str(tmp_path / "no.prototxt"))
    (tmp_path / "empty.prototxt").write_text("base_lr: 1")
    with pytest.raises(PrototxtError, match="found no training net"):
        caffe.get_solver(str(tmp_path / "empty.prototxt"))
    caffe.set_solver_count(2)
    try:
        with pytest.raises(UsageError, match="solver_count is 2"):
            caffe.get_solver(write(tmp_path))
    finally:
        caffe.set_solver_count(1)
