"""The example loops for torchrun, started as their docstrings say."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import torch

import demitasse
from demitasse.methods import pow2

EXAMPLES = Path(str(files("demitasse") / "examples/pytorch"))


def command(name: str, processes: int, *arguments: str) -> list[str]:
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [*run, str(EXAMPLES / name), *arguments]


def torchrun(name: str, processes: int, *arguments: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(2):
        done = subprocess.run(
            command(name, processes, *arguments), capture_output=True, text=True, check=False, env=environment
        )
        if "SIGABRT" not in done.stderr:  # torch's clean-up aborts a process now and then; the example resumes
            break
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_model(path: Path) -> None:
    state = demitasse.load(path)
    assert isinstance(state, dict)
    weights = [tensor for name, tensor in state.items() if name.endswith("weight")]
    assert all(pow2.on_grid(weight).all() for weight in weights)
    assert sum(int((weight == 0).sum()) for weight in weights) / 50200 == pytest.approx(0.9, abs=0.01)


def test_ddp_goes_on_after_a_kill_as_if_nothing_had_happened(tmp_path: Path) -> None:
    said = torchrun("ddp.py", 2, "--folder", str(tmp_path / "whole"), "--epochs", "2")
    assert "100% of the weights frozen" in said
    check_model(tmp_path / "whole/model.safetensors")
    broken = ["--folder", str(tmp_path / "broken"), "--epochs", "2"]
    with subprocess.Popen(command("ddp.py", 2, *broken), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("50%"):
                process.terminate()
                break
    torchrun("ddp.py", 2, *broken)
    whole, again = (demitasse.load(tmp_path / part / "model.safetensors") for part in ("whole", "broken"))
    assert isinstance(whole, dict)
    assert isinstance(again, dict)
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_fsdp2_goes_on_with_one_process(tmp_path: Path) -> None:
    arguments = ["--folder", str(tmp_path), "--epochs", "2"]
    torchrun("fsdp2.py", 2, *arguments)
    check_model(tmp_path / "model.safetensors")
    before = demitasse.load(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    torchrun("fsdp2.py", 1, *arguments)
    after = demitasse.load(tmp_path / "model.safetensors")
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert all(torch.equal(before[name], after[name]) for name in before)
