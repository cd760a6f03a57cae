"""Chooses the device of a run, or of each process of a run."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch

from demitasse.caffe import log, schema
from demitasse.errors import DeviceError, UsageError, parameter


def choose(flag: str) -> torch.device:
    """Returns the device that a user names: a number, ``all``, or nothing for the CPU.

    Raises:
        DeviceError: there is no such GPU.
        UsageError: the flag is not a number, or names several devices.
    """
    if not flag:
        return torch.device("cpu")
    devices = numbers(flag)
    if len(devices) > 1:
        raise UsageError(f"{_gpu(flag)}: only training runs on several devices; give one, such as {_gpu('0')}")
    return torch.device("cuda", devices[0])


def numbers(flag: str) -> list[int]:
    """Returns the numbers of the GPUs that a user names; see :func:`choose` for errors."""
    count = torch.cuda.device_count()
    if not count:
        raise DeviceError(f"{_gpu(flag)}: this machine has no GPU; leave it out to run on the CPU")
    if flag == "all":
        return list(range(count))
    try:
        devices = [int(part) for part in flag.split(",")]
    except ValueError as error:
        raise UsageError(f"{_gpu(flag)}: expected a number, numbers separated by commas, or 'all'") from error
    for device in devices:
        if not 0 <= device < count:
            raise DeviceError(f"{_gpu(flag)}: there is no GPU {device}; this machine has 0 to {count - 1}")
    return devices


def _gpu(given: str) -> str:
    return parameter("gpu", given)


def of_solver(param: schema.SolverParameter) -> torch.device:
    """Returns the device of a solver's ``solver_mode`` and ``device_id``; without any GPU the CPU, with a warning.

    Raises:
        DeviceError: the machine has GPUs, but not this one.
    """
    if param.solver_mode != schema.SolverParameter.GPU:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        log.warning("caffe.cpp:211", "solver_mode is GPU, but this machine has no GPU: using the CPU")
        return torch.device("cpu")
    return choose(str(param.device_id))


class ProcessRank(NamedTuple):
    """The rank of a process among all and on its machine, and the numbers of these processes."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


def process_rank() -> ProcessRank:
    """Returns the rank of this process from torchrun's environment variables; without them it is the only process.

    Raises:
        UsageError: a variable is not a number.
    """
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        return ProcessRank()
    size = _number("WORLD_SIZE", 1)
    return ProcessRank(_number("RANK", 0), size, _number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", size))


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    if not text.isdecimal():
        raise UsageError(f"{variable}={text!r} in the environment: expected a number, as torchrun sets it")
    return int(text)


def count(gpu: str, cpu: int) -> int:
    """Returns the number of devices of this machine to train on, from the user's GPUs or number of processes.

    Raises:
        DeviceError: there is no such GPU.
        UsageError: both are given, a GPU is given twice, or the GPUs are not numbers.
    """
    if gpu and cpu:
        raise UsageError(f"found both {_gpu(gpu)} and {parameter('cpu', cpu)}; give one of them")
    if not gpu:
        return cpu or 1
    devices = numbers(gpu)
    if len(set(devices)) < len(devices):
        raise UsageError(f"{_gpu(gpu)}: a GPU is given twice")
    return len(devices)


def of_rank(process: ProcessRank, gpu: str, cpu: int, param: schema.SolverParameter) -> torch.device:
    """Returns the device of one process of a run; if the user names none, the solver's settings decide.

    Raises:
        DeviceError: there is no such GPU.
        UsageError: the number of devices differs from the number of processes on this machine.
    """
    if (gpu or cpu) and count(gpu, cpu) != process.local_size:
        given = _gpu(gpu) if gpu else parameter("cpu", cpu)
        raise UsageError(f"{given}: expected {process.local_size} devices, one for each process on this machine")
    if gpu:
        return torch.device("cuda", numbers(gpu)[process.local_rank])
    chosen = torch.device("cpu") if cpu else of_solver(param)
    if chosen.type == "cpu" or process.local_size == 1:
        return chosen
    return torch.device("cuda", process.local_rank % torch.cuda.device_count())
