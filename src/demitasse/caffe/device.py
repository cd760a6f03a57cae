"""Which device a run computes on."""

from __future__ import annotations

import torch

from demitasse.caffe import log, schema
from demitasse.errors import DeviceError, UsageError


def choose(flag: str) -> torch.device:
    """Returns the device that ``-gpu`` asks for: a number, ``all``, or nothing for the CPU.

    Raises:
        DeviceError: there is no such GPU.
        UsageError: several devices, or not a number.
    """
    if not flag:
        return torch.device("cpu")
    devices = numbers(flag)
    if len(devices) > 1:
        raise UsageError(f"-gpu={flag}: training on several devices is not supported yet; name one, as -gpu=0")
    return torch.device("cuda", devices[0])


def numbers(flag: str) -> list[int]:
    """Returns the numbers of the GPUs that ``-gpu`` names; errors as :func:`choose`."""
    count = torch.cuda.device_count()
    if not count:
        raise DeviceError(f"-gpu={flag}: no GPU on this machine; leave the flag out to run on the CPU")
    if flag == "all":
        return list(range(count))
    try:
        devices = [int(part) for part in flag.split(",")]
    except ValueError:
        raise UsageError(f"-gpu={flag}: expected a number, numbers separated by commas, or 'all'") from None
    for device in devices:
        if not 0 <= device < count:
            raise DeviceError(f"-gpu={flag}: no GPU {device}; this machine has 0 to {count - 1}")
    return devices


def of_solver(param: schema.Message) -> torch.device:
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
