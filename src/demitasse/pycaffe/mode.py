"""Where nets compute, and which number this process has among several: pycaffe's global settings."""

from __future__ import annotations

import torch

from demitasse.caffe import device as devices
from demitasse.caffe import log
from demitasse.errors import UsageError

_gpu_wanted = False
_gpu_number = 0
_seeds: torch.Generator | None = None
_count, _rank = 1, 0


def set_mode_cpu() -> None:
    """Lets nets compute on the CPU; so they do unless told otherwise."""
    global _gpu_wanted
    _gpu_wanted = False


def set_mode_gpu() -> None:
    """Lets nets compute on the GPU of :func:`set_device`; without a GPU on the CPU, with a warning."""
    global _gpu_wanted
    _gpu_wanted = torch.cuda.is_available()
    if not _gpu_wanted:
        log.warning("common.cpp:150", "set_mode_gpu: this machine has no GPU: using the CPU")


def set_device(device_id: int) -> None:
    """Chooses the GPU for :func:`set_mode_gpu`.

    Raises:
        DeviceError: the machine has GPUs, but not this one.
    """
    global _gpu_number
    if torch.cuda.is_available():
        devices.choose(str(device_id))
    _gpu_number = device_id


def current_device() -> torch.device:
    """Returns where nets compute."""
    return torch.device("cuda", _gpu_number) if _gpu_wanted else torch.device("cpu")


def set_random_seed(seed: int) -> None:
    """Seeds what is random from now on: fillers, dropout, the order and the crops of data."""
    global _seeds
    torch.manual_seed(seed)
    _seeds = torch.Generator().manual_seed(seed)


def next_seed() -> int | None:
    """Returns a seed for what has a generator of its own; None where no seed was set."""
    return None if _seeds is None else int(torch.randint(2**31, (), generator=_seeds))


def solver_count() -> int:
    """Returns the number of solvers that train together."""
    return _count


def set_solver_count(count: int) -> None:
    """Notes the number of solvers that train together; solvers are made where it is 1."""
    global _count
    _count = count


def solver_rank() -> int:
    """Returns this process's number among the solvers."""
    return _rank


def set_solver_rank(rank: int) -> None:
    """Notes this process's number among the solvers."""
    global _rank
    _rank = rank


def set_multiprocess(multiprocess: bool) -> None:
    """Does nothing: each process of ours has one solver."""


def has_nccl() -> bool:
    """Returns False: there is no NCCL of Caffe's; see :class:`NCCL`."""
    return False


class NCCL:
    """What lets Caffe's solvers share gradients; there is none here.

    Raises:
        UsageError: always.
    """

    def __init__(self, solver: object, uid: object) -> None:
        raise UsageError(_NO_NCCL)

    @staticmethod
    def new_uid() -> bytes:
        """Raises UsageError, like the class."""
        raise UsageError(_NO_NCCL)


_NO_NCCL = "caffe.NCCL is not there (caffe.has_nccl() is False): each process trains alone here"
