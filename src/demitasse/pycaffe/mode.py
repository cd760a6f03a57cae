"""pycaffe's global settings: the device of nets, seeds, and the rank of this process."""

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
    """Sets the CPU as the device of nets, which is the default."""
    global _gpu_wanted
    _gpu_wanted = False


def set_mode_gpu() -> None:
    """Sets the GPU of :func:`set_device` as the device of nets; without a GPU the CPU is used, with a warning."""
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
    """Returns the device of nets."""
    return torch.device("cuda", _gpu_number) if _gpu_wanted else torch.device("cpu")


def set_random_seed(seed: int) -> None:
    """Seeds everything that is random from now on: fillers, dropout, the order and the crops of data."""
    global _seeds
    torch.manual_seed(seed)
    _seeds = torch.Generator().manual_seed(seed)


def next_seed() -> int | None:
    """Returns a seed for an object with its own generator; None if no seed was set."""
    return None if _seeds is None else int(torch.randint(2**31, (), generator=_seeds))


def solver_count() -> int:
    """Returns the number of solvers that train together."""
    return _count


def set_solver_count(count: int) -> None:
    """Sets the number of solvers that train together; solvers can only be created if it is 1."""
    global _count
    _count = count


def solver_rank() -> int:
    """Returns the rank of this process among the solvers."""
    return _rank


def set_solver_rank(rank: int) -> None:
    """Sets the rank of this process among the solvers."""
    global _rank
    _rank = rank


def set_multiprocess(multiprocess: bool) -> None:
    """Does nothing, since each process has one solver here."""


def has_nccl() -> bool:
    """Returns False, since Caffe's NCCL interface is not available; see :class:`NCCL`."""
    return False


class NCCL:
    """The class through which Caffe's solvers share gradients; not available here.

    Raises:
        UsageError: always.
    """

    def __init__(self, solver: object, uid: object) -> None:
        raise UsageError(_NO_NCCL)

    @staticmethod
    def new_uid() -> bytes:
        """Raises UsageError, like the constructor."""
        raise UsageError(_NO_NCCL)


_NO_NCCL = "caffe.NCCL is not available (caffe.has_nccl() is False), because each process trains alone here"
