"""The training loop: nets, tests, displays, signals, divergence, devices."""

from __future__ import annotations

import logging
import os
import re
import signal

import pytest
import torch

from demitasse.caffe import device, schema
from demitasse.caffe.models.blobs import blob_arrays
from demitasse.caffe.text import prototxt
from demitasse.caffe.training.signals import Signals
from demitasse.caffe.training.solver import Solver
from demitasse.errors import (
    DeviceError,
    DivergedError,
    NetError,
    PrototxtError,
    SnapshotError,
    UnknownNameError,
    UsageError,
    WeightsError,
)
from tests.training import net_text, solver_param

TESTED = "max_iter: 6 test_iter: 3 test_interval: 2 "


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO, "demitasse.caffe")


def lines(caplog, pattern):
    return [message for message in caplog.messages if re.search(pattern, message)]


def test_training_learns(tmp_path):
    solver = Solver(solver_param(tmp_path, settings="max_iter: 60 average_loss: 10"))
    solver.step(10)
    before = solver.loss
    solver.step(50)
    assert solver.loss < 0.3 * before


def test_the_order_of_tests_displays_and_snapshots(tmp_path, caplog):
    solver = Solver(solver_param(tmp_path, settings=TESTED + "display: 3 snapshot: 4"))
    solver.solve()
    events = [
        re.sub(r" \(\d.*?iters\)|, loss.*|^Snap.*/", "", line)
        for line in lines(caplog, r"^Iteration .*(loss|Test)|^Snap|Opt")
    ]
    assert events == [
        "Iteration 0, Testing net (#0)",
        "Iteration 0",
        "Iteration 2, Testing net (#0)",
        "Iteration 3",
        "snap_iter_4.caffemodel",
        "snap_iter_4.solverstate",
        "Iteration 4, Testing net (#0)",
        "snap_iter_6.caffemodel",
        "snap_iter_6.solverstate",
        "Iteration 6",
        "Iteration 6, Testing net (#0)",
        "Optimization Done.",
    ]


def test_nothing_is_tested_at_first_where_the_solver_says_so(tmp_path, caplog):
    Solver(solver_param(tmp_path, settings=TESTED + "test_initialization: false")).solve()
    assert [line[:11] for line in lines(caplog, "Testing net")] == ["Iteration 2", "Iteration 4", "Iteration 6"]


def test_no_snapshot_after_training_where_the_solver_says_so(tmp_path):
    Solver(solver_param(tmp_path, settings="max_iter: 2 snapshot_after_train: false")).solve()
    assert not list(tmp_path.glob("snap*"))


def test_test_outputs_are_means_and_the_loss_is_shown_on_demand(tmp_path, caplog):
    solver = Solver(solver_param(tmp_path, settings=TESTED + "test_compute_loss: true"))
    solver.test_all()
    (net,) = solver.test_nets
    net.sources["data"].seed(solver.seed + 1)
    with torch.no_grad():
        batches = [net(net.next_batch()) for _ in range(3)]
    loss = sum(batch["loss"].item() for batch in batches) / 3
    accuracy = sum(batch["accuracy"].item() for batch in batches) / 3
    shown = lines(caplog, "Test net output|Test loss")
    assert shown == [
        f"Test loss: {loss:g}",
        f"    Test net output #0: accuracy = {accuracy:g}",
        f"    Test net output #1: loss = {loss:g} (* 1 = {loss:g} loss)",
    ]


def test_average_loss_is_the_mean_of_the_last_ones(tmp_path):
    solver = Solver(solver_param(tmp_path, settings="max_iter: 9 average_loss: 3"))
    losses = []
    for _ in range(5):
        solver.step(1)
        losses.append(solver.losses[-1])
    assert solver.loss == pytest.approx(sum(losses[-3:]) / 3)


def test_test_nets_hold_the_very_blobs_and_masks(tmp_path):
    solver = Solver(solver_param(tmp_path, "DNS", TESTED))
    solver.step(4)
    ours, theirs = solver.net.layer("ip1"), solver.test_nets[0].layer("ip1")
    assert all(a is b for a, b in zip(ours.blobs(), theirs.blobs(), strict=True))
    assert ours.compression().share < 1


def test_a_test_net_of_other_shapes_is_refused(tmp_path):
    param = solver_param(tmp_path, settings="max_iter: 1")
    (tmp_path / "test.prototxt").write_text(net_text(tmp_path).replace("num_output: 4 kernel", "num_output: 5 kernel"))
    param.test_net.append(str(tmp_path / "test.prototxt"))
    param.test_iter.append(1)
    param.test_interval = 1
    with pytest.raises(NetError, match=r"'conv1'.*\[5, 1, 3, 3\].*\[4, 1, 3, 3\]"):
        Solver(param)


def test_levels_and_stages_choose_the_layers(tmp_path):
    param = solver_param(tmp_path, settings="test_iter: 1 test_iter: 2 test_interval: 5")
    text = net_text(tmp_path).replace('name: "drop1"', 'name: "drop1" include { stage: "wet" min_level: 2 }')
    (tmp_path / "net.prototxt").write_text(text)
    param.train_state.stage.append("wet")
    param.train_state.level = 2
    param.test_state.add(stage=["wet"])
    param.test_state.add(stage=["wet"], level=3)
    solver = Solver(param)
    assert ["drop1" in net.named_layers() for net in (solver.net, *solver.test_nets)] == [True, False, True]


def test_nets_inside_the_solver(tmp_path):
    param = solver_param(tmp_path)
    net = prototxt.read_net(param.net)
    param.ClearField("net")
    param.train_net_param.CopyFrom(net)
    param.test_net_param.add().CopyFrom(net)
    param.test_iter.append(1)
    param.test_interval = 1
    solver = Solver(param)
    assert "accuracy" in solver.test_nets[0].outputs
    assert solver.net.outputs == ["loss"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('train_net: "net.prototxt"', "found net, train_net; expected exactly one of"),
        ("test_iter: 1", "test_interval is 0"),
        ("test_iter: 1 test_interval: 1 test_state {} test_state {}", "2 test_state for 1 test nets"),
        ('test_net: "net.prototxt"', "0 test_iter for 1 test nets"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, settings, message):
    with pytest.raises(PrototxtError, match=message):
        Solver(solver_param(tmp_path, settings=settings))


def test_a_solver_without_a_net(tmp_path):
    param = solver_param(tmp_path)
    param.ClearField("net")
    with pytest.raises(PrototxtError, match=r"mine\.prototxt: found no training net; expected exactly one of"):
        Solver(param, "mine.prototxt")


def test_an_unknown_solver_type_gets_the_nearest_name(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown solver type 'Nestrov'; did you mean 'Nesterov'"):
        Solver(solver_param(tmp_path, settings='type: "Nestrov"'))


def test_old_solver_types_are_numbers(tmp_path):
    assert Solver(solver_param(tmp_path, settings="solver_type: ADAM")).param.type == "Adam"


def test_a_prefix_that_cannot_be_written_is_found_before_training(tmp_path):
    param = solver_param(tmp_path)
    param.snapshot_prefix = str(tmp_path / "nowhere/snap")
    with pytest.raises(SnapshotError, match=r"snapshot_prefix .*nowhere' does not exist or is read-only"):
        Solver(param)


def test_without_a_prefix_snapshots_are_named_for_the_solver(tmp_path):
    param = solver_param(tmp_path)
    param.ClearField("snapshot_prefix")
    assert Solver(param, str(tmp_path / "mine.prototxt")).prefix == str(tmp_path / "mine")
    param.snapshot_prefix = str(tmp_path)
    assert Solver(param, "mine.prototxt").prefix == str(tmp_path / "mine")


def test_weights_are_loaded_in_turn(tmp_path):
    param = solver_param(tmp_path)
    first = Solver(param)
    first.step(2)
    first.snapshot()
    param.random_seed = 9
    param.weights.append(f" {tmp_path / 'snap_iter_2.caffemodel'} , {tmp_path / 'snap_iter_2.caffemodel'}")
    again = Solver(param)
    assert torch.equal(again.net.layer("ip1").weight, first.net.layer("ip1").weight)


def test_weights_of_another_net_are_refused(tmp_path):
    param = solver_param(tmp_path)
    Solver(param).snapshot()
    (tmp_path / "net.prototxt").write_text(net_text(tmp_path).replace("num_output: 4 kernel", "num_output: 6 kernel"))
    param.weights.append(str(tmp_path / "snap_iter_0.caffemodel"))
    with pytest.raises(WeightsError, match=r"'conv1' has shape \[4, 1, 3, 3\], but the net's has \[6, 1, 3, 3\]"):
        Solver(param)


def test_the_same_seed_gives_the_same_run(tmp_path):
    param = solver_param(tmp_path, "DNS")
    runs = []
    for _ in range(2):
        solver = Solver(param)
        solver.step(6)
        runs.append(solver.net.layer("ip1").weight.clone())
    assert torch.equal(*runs)


def test_a_loss_that_is_not_finite_stops_before_it_spoils_the_weights(tmp_path):
    param = solver_param(tmp_path, settings="max_iter: 50 snapshot: 1")
    solver = Solver(param)
    solver.step(2)
    with torch.no_grad():
        solver.net.layer("ip1").weight[0, 0] = torch.inf
    before = [blob.clone() for blob in solver.net.layer("conv1").blobs()]
    with pytest.raises(
        DivergedError, match=r"iteration 2: the loss is nan; the last good snapshot: .*snap_iter_2\.sol"
    ):
        solver.solve()
    assert all(torch.equal(a, b) for a, b in zip(before, solver.net.layer("conv1").blobs(), strict=True))


def test_without_a_snapshot_the_message_says_so(tmp_path):
    solver = Solver(solver_param(tmp_path, settings="max_iter: 90"))
    solver.param.base_lr = 1e30
    with pytest.raises(DivergedError, match=r"iteration [1-4]: .*snapshot: none$"):
        solver.solve()


def test_weights_that_are_not_finite_are_never_written(tmp_path):
    solver = Solver(solver_param(tmp_path))
    with torch.no_grad():
        solver.net.layer("conv1").bias[1] = torch.nan
    with pytest.raises(DivergedError, match="iteration 0: blob 1 of layer 'conv1'"):
        solver.snapshot()
    assert not list(tmp_path.glob("snap*"))


def kill_at(solver, iteration, number):
    def callback(solver):
        if solver.iter == iteration:
            os.kill(os.getpid(), number)

    solver.callbacks.append(callback)


def test_sigint_stops_with_a_snapshot(tmp_path, caplog):
    with Signals() as signals:
        solver = Solver(solver_param(tmp_path), signals=signals)
        kill_at(solver, 5, signal.SIGINT)
        solver.solve()
    assert solver.iter == 5
    assert (tmp_path / "snap_iter_5.solverstate").is_file()
    assert caplog.messages[-1] == "Optimization stopped early."


def test_sighup_snapshots_and_goes_on(tmp_path):
    with Signals() as signals:
        solver = Solver(solver_param(tmp_path), signals=signals)
        kill_at(solver, 5, signal.SIGHUP)
        solver.solve()
    assert solver.iter == 20
    assert {path.name for path in tmp_path.glob("*state")} == {"snap_iter_5.solverstate", "snap_iter_20.solverstate"}


def test_effects_can_be_changed(tmp_path):
    with Signals(sigint="none", sighup="stop") as signals:
        solver = Solver(solver_param(tmp_path), signals=signals)
        kill_at(solver, 3, signal.SIGINT)
        kill_at(solver, 7, signal.SIGHUP)
        solver.solve()
    assert solver.iter == 7


def test_signals_get_their_old_handlers_back():
    before = signal.getsignal(signal.SIGINT)
    with Signals():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_unknown_effects_are_refused():
    with pytest.raises(UsageError, match="-sighup_effect: 'halt' is not one of stop, snapshot, none"):
        Signals(sighup="halt")


def test_sigint_during_a_test_leaves_the_test_data_where_it_was(tmp_path, caplog):
    with Signals() as signals:
        solver = Solver(solver_param(tmp_path, settings=TESTED), signals=signals)
        (net,) = solver.test_nets
        read = net.sources["data"].next_batch

        def interrupted():
            os.kill(os.getpid(), signal.SIGINT)
            return read()

        net.sources["data"].next_batch = interrupted
        before = net.sources["data"].state()
        solver.solve()
    assert solver.iter == 0
    assert net.sources["data"].state() == before
    assert "Test interrupted." in caplog.messages


def test_gpu_mode_without_a_gpu_warns_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    param = solver_param(tmp_path)
    param.solver_mode = schema.SolverParameter.GPU
    assert Solver(param).device == torch.device("cpu")
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.message for record in warned] == ["solver_mode is GPU, but this machine has no GPU: using the CPU"]


def test_asking_for_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(DeviceError, match="gpu='0': this machine has no GPU"):
        device.choose("0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match="gpu='2': there is no GPU 2; this machine has 0 to 1"):
        device.choose("2")
    with pytest.raises(UsageError, match="gpu='all': only training runs on several devices"):
        device.choose("all")
    with pytest.raises(UsageError, match="gpu='first': expected a number"):
        device.choose("first")
    assert device.choose("1") == torch.device("cuda", 1)


@pytest.mark.gpu
def test_training_on_a_gpu(tmp_path):
    param = solver_param(tmp_path, "DNS", "max_iter: 8 display: 4 test_iter: 2 test_interval: 4")
    param.solver_mode = schema.SolverParameter.GPU
    unbroken = Solver(param)
    assert next(unbroken.net.parameters()).is_cuda
    unbroken.step(4)
    path = unbroken.snapshot()
    unbroken.solve()
    resumed = Solver(param)
    resumed.restore(path)
    resumed.solve()
    torch.testing.assert_close(resumed.net.layer("ip1").weight, unbroken.net.layer("ip1").weight)


def test_debug_info_shows_magnitudes_and_norms(tmp_path, caplog):
    solver = Solver(solver_param(tmp_path, settings="max_iter: 2 display: 2 debug_info: true"))
    weights = [array.copy() for array in blob_arrays([blob.tensor for blob in solver.net.learnable])]
    solver.step(2)
    shown = lines(caplog, r"\[Forward\] Layer conv1, param blob 0 data")
    assert len(shown) == 1
    assert float(shown[0].split()[-1]) == pytest.approx(abs(weights[0]).mean(), rel=1e-5)
    assert lines(caplog, r"\[Forward\] Layer loss, top blob loss data")
    assert lines(caplog, r"\[Backward\] Layer ip1, bottom blob pool1 diff")
    (norms,) = lines(caplog, "All net params")
    l1 = sum(abs(array).sum() for array in weights)
    assert float(re.search(r"L1 norm = \(([\d.]+)", norms)[1]) == pytest.approx(l1, rel=1e-5)


def test_unknown_policies_and_types_name_the_solver_before_training(tmp_path):
    for settings, message in (
        ('lr_policy: "stepp"', "unknown lr_policy 'stepp'"),
        ('type: "Adamm"', "unknown solver type"),
    ):
        (tmp_path / "solver.prototxt").write_text(f'net: "{tmp_path}/net.prototxt" base_lr: 1 {settings}')
        with pytest.raises(UnknownNameError, match=rf"solver\.prototxt: {message}"):
            Solver(prototxt.read_solver(tmp_path / "solver.prototxt"), "solver.prototxt")


def test_names_that_hdf5_cannot_have_are_refused_before_training(tmp_path):
    text = '''net_param { layer { name: "." type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 } } } }
      snapshot_format: HDF5 snapshot_prefix: "PREFIX" base_lr: 1 lr_policy: "fixed"'''
    param = prototxt.parse(text.replace("PREFIX", str(tmp_path / "snap")), schema.SolverParameter(), "solver")
    with pytest.raises(WeightsError, match=r"layer '\.': HDF5 cannot store this name"):
        Solver(param, "solver")
