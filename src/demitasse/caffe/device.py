"""Which device a run computes on, or each process of a run."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch

from demitasse.caffe import log, schema
from demitasse.errors import DeviceError, UsageError, parameter


def choose(flag: str) -> torch.device:
    """Returns the device that a user asks for: a number, ``all``, or nothing for the CPU.

    Raises:
        DeviceError: there is no such GPU.
        UsageError: several devices, or not a number.
    """
    if not flag:
        return torch.device("cpu")
    devices = numbers(flag)
    if len(devices) > 1:
        raise UsageError(f"{_gpu(flag)}: only training runs on several devices; name one, as {_gpu('0')}")
    return torch.device("cuda", devices[0])


def numbers(flag: str) -> list[int]:
    """Returns the numbers of the GPUs that a user names; errors as :func:`choose`."""
    count = torch.cuda.device_count()
    if not count:
        raise DeviceError(f"{_gpu(flag)}: no GPU on this machine; leave it out to run on the CPU")
    if flag == "all":
        return list(range(count))
    try:
        devices = [int(part) for part in flag.split(",")]
    except ValueError as error:
        raise UsageError(f"{_gpu(flag)}: expected a number, numbers separated by commas, or 'all'") from error
    for device in devices:
        if not 0 <= device < count:
            raise DeviceError(f"{_gpu(flag)}: no GPU {device}; this machine has 0 to {count - 1}")
    return devices


def _gpu(given: str) -> str:
    return parameter("gpu", given)


def of_solver(param: schema.SolverParameter) -> torch.device:
    """Returns the device of a solver's ``solver_mode`` and ``device_id``; without a GPU the CPU, with a warning.

    Raises:
        DeviceError: the machine has GPUs, but not this one.
    """
    if param.solver_mode != schema.SolverParameter.GPU:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        log.warning("caffe.cpp:211", "solver_mode is GPU, but there is no GPU on this machine: using the CPU")
        return torch.device("cpu")
    return choose(str(param.device_id))


class ProcessRank(NamedTuple):
    """A process's number among all and among those of its machine, and how many these are."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


def process_rank() -> ProcessRank:
    """Returns this process's place as torchrun's variables in the environment tell it; without them it is alone.

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
    """Returns on how many devices of this machine a run trains, by the GPUs or processes that a user names.

    Raises:
        DeviceError: there is no such GPU.
        UsageError: both, one GPU twice, or not numbers.
    """
    if gpu and cpu:
        raise UsageError(f"{_gpu(gpu)} and {parameter('cpu', cpu)}: give one of them")
    if not gpu:
        return cpu or 1
    devices = numbers(gpu)
    if len(set(devices)) < len(devices):
        raise UsageError(f"{_gpu(gpu)}: names a GPU twice")
    return len(devices)


def of_rank(process: ProcessRank, gpu: str, cpu: int, param: schema.SolverParameter) -> torch.device:
    """Returns the device of one process of a run; where a user names none the solver decides.

    Raises:
        DeviceError: there is no such GPU.
        UsageError: there are not as many devices as processes on this machine.
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
