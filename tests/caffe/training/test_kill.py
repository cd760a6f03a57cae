"""Training that is killed at any moment goes on from its last snapshot, bit for bit."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training import solver_text

ITERATIONS = 150


class Nursery:
    """Trains in a child process; see nursery.py."""

    def __init__(self, warm_up: Path) -> None:
        self.log = warm_up.with_name("log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("nursery.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        self._tell(f"-solver={warm_up}")
        assert self._hear() == "ready"

    def _tell(self, *flags: str) -> None:
        self.process.stdin.write(json.dumps(["train", *flags]) + "\n")
        self.process.stdin.flush()

    def _hear(self) -> str:
        return self.process.stdout.readline().strip()

    def train(self, *flags: str) -> None:
        """Trains to the end."""
        self._tell(*flags)
        self._hear()
        assert self._hear() == "0", self.log.read_text()

    def train_and_kill(self, snapshots: Path, delay: float, *flags: str) -> None:
        """Trains, and kills so many seconds after the first snapshot is there."""
        self._tell(*flags)
        pid = int(self._hear())
        while not list(snapshots.glob("*.solverstate")):
            time.sleep(0.001)
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        assert int(self._hear()) == signal.SIGKILL, "the run had ended before it was killed"

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("warm_up")
    (folder / "solver.prototxt").write_text(solver_text(folder, "DNS", "max_iter: 1"))
    nursery = Nursery(folder / "solver.prototxt")
    yield nursery
    nursery.close()


class Runs:
    """Runs of one solver that differ in their snapshot folder alone."""

    def __init__(self, folder: Path, method: str) -> None:
        settings = f"max_iter: {ITERATIONS} snapshot: 5 iter_size: 2 display: 50 average_loss: 3"
        self.folder = folder
        self.text = solver_text(folder, method, settings)

    def prepare(self, name: str) -> str:
        """Makes the snapshot folder; returns the flag that names the solver."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "solver.prototxt").write_text(self.text.replace(str(self.folder / "snap"), str(folder / "snap")))
        return f"-solver={folder / 'solver.prototxt'}"

    def result(self, name: str) -> bytes:
        return (self.folder / name / f"snap_iter_{ITERATIONS}.caffemodel").read_bytes()

    def last_snapshot(self, name: str) -> Path:
        files = (self.folder / name).glob("*.solverstate")
        return max(files, key=lambda path: int(re.findall(r"_iter_(\d+)", path.name)[0]))


@pytest.mark.parametrize("method", ["", "DNS", "INQ"])
@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_runs_end_as_unbroken_ones(tmp_path, nursery, method, kills):
    runs = Runs(tmp_path, method)
    start = time.perf_counter()
    nursery.train(runs.prepare("unbroken"))
    seconds = time.perf_counter() - start
    moments = random.Random(kills)
    for kill in map(str, range(kills)):
        flag = runs.prepare(kill)
        nursery.train_and_kill(tmp_path / kill, moments.uniform(0, 0.5 * seconds), flag)
        nursery.train(flag, f"-snapshot={runs.last_snapshot(kill)}")
        assert runs.result(kill) == runs.result("unbroken")
