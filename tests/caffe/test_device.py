"""Which device each process of a run takes."""

from __future__ import annotations

import pytest
import torch

from demitasse.caffe import device, schema
from demitasse.caffe.device import ProcessRank
from demitasse.errors import DeviceError, UsageError

ON_CPU = schema.SolverParameter(solver_mode=schema.SolverParameter.CPU)
ON_GPU = schema.SolverParameter(solver_mode=schema.SolverParameter.GPU)
SECOND = ProcessRank(rank=5, size=8, local_rank=1, local_size=2)


@pytest.fixture
def _four_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.mark.usefixtures("_four_gpus")
@pytest.mark.parametrize(("gpu", "cpu", "count"), [("", 0, 1), ("", 3, 3), ("2", 0, 1), ("0,3", 0, 2), ("all", 0, 4)])
def test_flags_say_how_many_processes_there_are(gpu, cpu, count):
    assert device.count(gpu, cpu) == count


@pytest.mark.usefixtures("_four_gpus")
@pytest.mark.parametrize(
    ("gpu", "cpu", "message"),
    [("0", 2, "found both gpu='0' and cpu=2; give one of them"), ("1,1", 0, "gpu='1,1': a GPU is given twice")],
)
def test_flags_that_contradict_each_other(gpu, cpu, message):
    with pytest.raises(UsageError, match=message):
        device.count(gpu, cpu)


def test_gpus_that_are_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(DeviceError, match="gpu='0,1': this machine has no GPU"):
        device.count("0,1", 0)


@pytest.mark.usefixtures("_four_gpus")
@pytest.mark.parametrize(
    ("place", "gpu", "cpu", "param", "expected"),
    [
        (ProcessRank(), "", 0, ON_CPU, "cpu"),
        (ProcessRank(), "", 0, ON_GPU, "cuda:0"),
        (ProcessRank(), "3", 0, ON_CPU, "cuda:3"),
        (ProcessRank(), "", 1, ON_GPU, "cpu"),
        (SECOND, "1,3", 0, ON_CPU, "cuda:3"),
        (SECOND, "", 2, ON_GPU, "cpu"),
        (SECOND, "", 0, ON_CPU, "cpu"),
        (SECOND, "", 0, ON_GPU, "cuda:1"),
    ],
)
def test_each_process_takes_its_own(place, gpu, cpu, param, expected):
    assert device.of_rank(place, gpu, cpu, param) == torch.device(expected)


@pytest.mark.usefixtures("_four_gpus")
@pytest.mark.parametrize(("gpu", "cpu", "flag"), [("1", 0, "gpu='1'"), ("", 3, "cpu=3")])
def test_each_process_needs_one(gpu, cpu, flag):
    with pytest.raises(UsageError, match=f"{flag}: expected 2 devices, one for each process on this machine"):
        device.of_rank(SECOND, gpu, cpu, ON_CPU)


def test_the_place_stands_in_the_environment(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert device.process_rank() == ProcessRank(0, 1, 0, 1)
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert device.process_rank() == SECOND
    monkeypatch.setenv("LOCAL_RANK", "first")
    with pytest.raises(UsageError, match="LOCAL_RANK='first' in the environment: expected a number"):
        device.process_rank()
