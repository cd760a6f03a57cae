"""train, test, time, device_query as a person calls them."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys

import pytest
import torch

from demitasse.caffe.net import Net
from demitasse.caffe.weights import save_weights
from demitasse.cli import main
from tests.training import net_text, solver_text, write_data


@pytest.fixture
def call(capsys):
    """``call(code, *arguments)`` runs a command, checks its exit code and returns what it wrote to stderr."""

    def run(code: int, *arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        captured = capsys.readouterr()
        assert end.value.code == code, captured.err
        assert "Traceback" not in captured.err
        return captured.err

    return run


@pytest.fixture
def solver(tmp_path):
    """Writes data, net and a solver; ``solver(settings)`` returns the solver's path."""

    def write(settings: str = "max_iter: 4", method: str = "") -> str:
        (tmp_path / "solver.prototxt").write_text(solver_text(tmp_path, method, settings))
        return str(tmp_path / "solver.prototxt")

    return write


def test_training_resuming_and_fine_tuning(call, solver, tmp_path):
    path = solver("max_iter: 4 snapshot: 2 display: 2")
    assert "Iteration 2 (" in call(0, "train", f"-solver={path}")
    model = (tmp_path / "snap_iter_4.caffemodel").read_bytes()
    (tmp_path / "snap_iter_4.caffemodel").unlink()
    err = call(0, "train", "--solver", path, "--snapshot", f"{tmp_path}/snap_iter_2.solverstate")
    assert "Resuming from" in err
    assert (tmp_path / "snap_iter_4.caffemodel").read_bytes() == model
    err = call(0, "train", f"-solver={path}", f"-weights={tmp_path}/snap_iter_4.caffemodel")
    assert f"Finetuning from {tmp_path}/snap_iter_4.caffemodel" in err


def test_levels_and_stages(call, solver, tmp_path):
    path = solver()
    (tmp_path / "net.prototxt").write_text(
        net_text(tmp_path).replace('name: "drop1"', 'name: "drop1" include { stage: "wet" min_level: 2 }')
    )
    assert "Layer drop1" not in call(0, "train", f"-solver={path}")
    assert "Layer drop1" in call(0, "train", f"-solver={path}", "-stage=wet,late", "-level=2")


def test_a_log_folder(call, solver, tmp_path):
    err = call(0, "train", f"-solver={solver()}", f"-log_dir={tmp_path}/logs")
    (copy,) = (tmp_path / "logs").iterdir()
    assert copy.read_text() == err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "-weights=x"], "usage: demitasse train -solver=solver.prototxt"),
        (["test", "-model=x"], "usage: demitasse test -model=net.prototxt -weights=net.caffemodel"),
        (["time", "-iterations=1"], "usage: demitasse time -model=net.prototxt"),
        (["train", "-solver=x", "-snapshot=a", "-weights=b"], "not both"),
        (["train", "-solver=nowhere.prototxt"], "nowhere.prototxt: cannot be read"),
        (["train", "-solver=nowhere.prototxt", "-cpu=2"], "nowhere.prototxt: cannot be read"),
        (["time", "-model=x", "-phase=DEPLOY"], "-phase=DEPLOY: expected TRAIN or TEST"),
    ],
)
def test_wrong_use(call, arguments, message):
    assert message in call(2, *arguments)


@pytest.mark.parametrize("command", ["train", "test", "time", "device_query"])
def test_without_arguments_the_usage_is_shown(command, capsys):
    with pytest.raises(SystemExit):
        main([command])
    captured = capsys.readouterr()
    assert f"demitasse {command}" in captured.out + captured.err


def test_wrong_effects(call, solver):
    assert "-sigint_effect: 'die'" in call(2, "train", f"-solver={solver()}", "-sigint_effect=die")


@pytest.mark.parametrize("command", ["train", "test", "time", "device_query"])
def test_a_gpu_that_is_not_there(call, solver, tmp_path, command, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    flags = {
        "train": [f"-solver={solver()}"],
        "test": [f"-model={tmp_path}/net.prototxt", "-weights=x"],
        "time": [f"-model={tmp_path}/net.prototxt"],
        "device_query": [],
    }
    assert "this machine has no GPU" in call(2, command, *flags[command], "-gpu=0")


def test_several_gpus_are_for_training(call, solver, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    solver()
    assert "only training runs on several devices" in call(2, "time", f"-model={tmp_path}/net.prototxt", "-gpu=0,1")


@pytest.mark.parametrize("gpu", ["0,1", "all"])
def test_several_devices_get_a_process_each(call, solver, monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    started = []
    monkeypatch.setattr("demitasse.cli.processes.run_ranks", lambda *given: started.append(given))
    arguments = ["train", f"--solver={solver()}", f"--gpu={gpu}", "--debug"]
    call(0, *arguments)
    assert started == [(arguments, 2)]


def test_one_process_of_the_cpu_is_this_one(call, solver):
    assert "Iteration 4, loss" in call(0, "train", f"-solver={solver('max_iter: 4 display: 4')}", "-cpu=1")


def test_diverging(call, solver, tmp_path):
    path = solver("max_iter: 40 snapshot: 1")
    text = (tmp_path / "solver.prototxt").read_text()
    (tmp_path / "solver.prototxt").write_text(text.replace("base_lr: 0.05", "base_lr: 1e25"))
    err = call(1, "train", f"-solver={path}")
    assert re.search(r"error: iteration \d+: .*; the last good snapshot: ", err)


def test_the_data_is_missing(call, solver, tmp_path):
    path = solver()
    (tmp_path / "data.txt").unlink()
    assert re.search(r"layer 'data' \(.*net\.prototxt:2\): .*data\.txt", call(1, "train", f"-solver={path}"))


def test_scoring(call, solver, tmp_path):
    call(0, "train", f"-solver={solver('max_iter: 60')}")
    flags = [f"-model={tmp_path}/net.prototxt", f"-weights={tmp_path}/snap_iter_60.caffemodel", "-iterations=3"]
    err = call(0, "test", *flags)
    batches = [float(value) for value in re.findall(r"Batch \d, accuracy = (\S+)", err)]
    assert len(batches) == 3
    mean = float(re.search(r"\] accuracy = (\S+)\n", err)[1])
    assert mean == pytest.approx(sum(batches) / 3, rel=1e-5)
    assert mean > 0.8
    assert re.search(r"\] Loss: \S+\n", err)


def test_scoring_a_net_that_nobody_feeds(call, tmp_path):
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 1 } }\n'
    )
    err = call(0, "time", f"-model={tmp_path}/net.prototxt", "-iterations=2", "-phase=TEST")
    assert re.search(r"ip\tbackward: \S+ ms\.", err)
    write_data(tmp_path)
    solver = tmp_path / "solver.prototxt"
    solver.write_text(f'net: "{tmp_path}/net.prototxt" base_lr: 1 lr_policy: "fixed" max_iter: 1 solver_mode: CPU')
    assert "there is no data for 'x': an Input layer must be fed" in call(1, "train", f"-solver={solver}")


def test_timing_adds_up(call, solver, tmp_path):
    solver()
    err = call(0, "time", f"-model={tmp_path}/net.prototxt", "-iterations=4")
    forward = [float(value) for value in re.findall(r"\tforward: (\S+) ms", err)]
    assert len(forward) == 6
    assert float(re.search(r"Average Forward pass: (\S+) ms", err)[1]) == pytest.approx(sum(forward), rel=1e-4)
    total = float(re.search(r"Total Time: (\S+) ms", err)[1])
    assert float(re.search(r"Average Forward-Backward: (\S+) ms", err)[1]) == pytest.approx(total / 4, rel=1e-4)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("method", "share"), [("DNS", r"cut \d+\.\d\d%"), ("INQ", r"frozen \d+\.\d\d%")])
def test_a_terminal_shows_a_bar_below_the_log(solver, monkeypatch, method, share):
    path = solver("max_iter: 5 display: 1", method)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit):
        main(["train", f"-solver={path}"])
    shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", terminal.getvalue())
    assert re.search(rf"[1-5]/5 .*loss \S+  lr 0\.0\d+  {share}", shown)
    assert re.search(r"solver\.cpp:222\] Iteration 4 ", shown)


def test_elsewhere_there_is_no_bar(call, solver):
    assert "\x1b" not in call(0, "train", f"-solver={solver()}")


@pytest.mark.gpu
def test_device_query(call):
    assert re.search(r"Name: +\S+", call(0, "device_query", "-gpu=0"))


WRITING = """layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "out" type: "HDF5Output" bottom: "ip" bottom: "label" hdf5_output_param { file_name: "FILE" } }
"""


@pytest.mark.parametrize("command", ["time", "test"])
def test_looking_at_a_net_writes_none_of_its_files(call, tmp_path, command):
    written, path = tmp_path / "written.h5", tmp_path / "net.prototxt"
    path.write_text(WRITING.replace("FILE", str(written)))
    save_weights(Net.from_file(path), tmp_path / "net.caffemodel")
    arguments = [command, f"-model={path}", "-iterations=1"]
    arguments += [f"-weights={tmp_path}/net.caffemodel"] if command == "test" else []
    err = call(0, *arguments)
    assert f"layer 'out' does not write {str(written)!r}; give --allow-output to allow it" in err
    assert not written.exists()
    assert "does not write" not in call(0, *arguments, "--allow-output")
    assert written.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="names of files are text there")
def test_paths_of_a_solver_are_utf_8_where_the_system_takes_ascii(tmp_path):
    folder = tmp_path / "ü"
    folder.mkdir()
    (folder / "ñ.prototxt").write_text(
        """layer { name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param {
        shape { dim: 2 dim: 3 } shape { dim: 2 } data_filler { value: 0 } } }
        layer { name: "ip" type: "InnerProduct" bottom: "x" top: "s" inner_product_param { num_output: 2 } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "s" bottom: "y" top: "l" }""",
        encoding="utf-8",
    )
    solver = 'net: "ü/ñ.prototxt" snapshot_prefix: "ü/ß" max_iter: 1 base_lr: 0.1 lr_policy: "fixed"'
    (tmp_path / "s.prototxt").write_text(solver, encoding="utf-8")
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "demitasse", "train", "-solver=s.prototxt"]
    for further in ([], ["-snapshot=ü/ß_iter_1.solverstate"], ["-weights=ü/ß_iter_1.caffemodel"]):
        # the words of a command line are bytes
        words = [word.encode() for word in command + further]
        done = subprocess.run(words, env=ascii_only, cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, done.stderr[-500:]
    assert sorted(path.name for path in folder.glob("ß*")) == ["ß_iter_1.caffemodel", "ß_iter_1.solverstate"]
