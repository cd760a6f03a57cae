"""``demitasse train`` with one process a device."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.sources.lmdb_store import write_lmdb
from demitasse.caffe.weights import load_weights
from tests.training import net_text, solver_text

COMMAND = [sys.executable, "-m", "demitasse", "train"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ENDLESS = "max_iter: 1000000 display: 1"


@pytest.fixture
def solver(tmp_path):
    """Writes data, net and a solver; ``solver(settings)`` returns the flag that names it."""

    def write(settings: str, method: str = "") -> str:
        (tmp_path / "solver.prototxt").write_text(solver_text(tmp_path, method, settings))
        return f"-solver={tmp_path / 'solver.prototxt'}"

    return write


class Run:
    """A run in the background, with its log and the processes it has started."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen([*COMMAND, *flags], stderr=log, env=ENVIRONMENT)

    def wait_for(self, pattern: str) -> None:
        """Waits until the log has a line like that."""
        while not re.search(pattern, self.log.read_text()):
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)

    def ranks(self) -> list[int]:
        """Returns the pids of the ranks, in their order."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return sorted(int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())

    def end(self) -> tuple[int, str]:
        """Returns exit code and log."""
        return self.process.wait(timeout=100), self.log.read_text()


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_signals_reach_all_ranks_and_one_alone_logs(tmp_path, solver):
    run = Run(tmp_path, solver(ENDLESS, "DNS"), "-cpu=2")
    run.wait_for("Iteration 3 ")
    ranks = run.ranks()
    assert len(ranks) == 2
    os.kill(run.process.pid, signal.SIGHUP)
    run.wait_for("Snapshotting solver state")
    os.kill(run.process.pid, signal.SIGINT)
    code, log = run.end()
    assert code == 0, log
    assert gone(ranks)
    assert len(list(tmp_path.glob("*.solverstate"))) == 2
    assert log.count("Optimization stopped early.") == 1
    assert {int(pid) for pid in re.findall(r"^[IW]\d{4} \S+ +(\d+)", log, re.MULTILINE)} == {ranks[0]}
    assert "Warning" not in log


def test_a_rank_that_is_killed_ends_the_run(tmp_path, solver):
    run = Run(tmp_path, solver(ENDLESS), "-cpu=2")
    run.wait_for("Iteration 3 ")
    ranks = run.ranks()
    os.kill(ranks[1], signal.SIGKILL)
    code, log = run.end()
    assert code == 1
    assert "error: rank 1 was killed by SIGKILL" in log
    assert "Traceback" not in log
    assert gone(ranks)


def test_an_error_of_one_rank_ends_the_run_with_its_message(tmp_path, solver):
    flag = solver("max_iter: 50")
    datums = [schema.Datum(channels=1, height=8, width=8, data=bytes(64)).SerializeToString() for _ in range(40)]
    datums[33] = schema.Datum(channels=1, height=8, width=8, data=bytes(63)).SerializeToString()
    write_lmdb(tmp_path / "lmdb", [(f"{i:03d}".encode(), datum) for i, datum in enumerate(datums)])
    data = f'type: "Data" data_param {{ backend: LMDB source: "{tmp_path / "lmdb"}" batch_size: 8 }}'
    text = re.sub(r"hdf5_data_param {.*?} }", "}", net_text(tmp_path)).replace('type: "HDF5Data"', data)
    (tmp_path / "net.prototxt").write_text(text)
    done = subprocess.run([*COMMAND, flag, "-cpu=2"], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if re.search("^error|Error", line)]
    assert len(errors) == 1
    assert re.fullmatch(r"error: rank 1: .*record '033': not a Datum: found 63 values for shape .*", errors[0])


@pytest.mark.slow
def test_torchrun_takes_the_same_command(tmp_path, solver):
    flag = solver("max_iter: 6 display: 1", "DNS")
    own = subprocess.run([*COMMAND, flag, "-cpu=2"], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert own.returncode == 0, own.stderr
    model = (tmp_path / "snap_iter_6.caffemodel").read_bytes()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(
        [*torchrun, "demitasse", "train", flag], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "snap_iter_6.caffemodel").read_bytes() == model


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus(tmp_path, solver):
    flag = solver("max_iter: 20 display: 5 snapshot: 10 test_iter: 2 test_interval: 10", "DNS")
    done = subprocess.run([*COMMAND, flag, "-gpu=0,1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    model = weights(tmp_path)
    resume = f"-snapshot={tmp_path / 'snap_iter_10.solverstate'}"
    done = subprocess.run([*COMMAND, flag, "-gpu=all", resume], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for mine, theirs in zip(weights(tmp_path), model, strict=True):
        torch.testing.assert_close(mine, theirs)


def weights(folder: Path) -> list[torch.Tensor]:
    net = Net.from_file(folder / "net.prototxt")
    load_weights(net, folder / "snap_iter_20.caffemodel")
    return [blob.tensor.detach() for blob in net.learnable]
