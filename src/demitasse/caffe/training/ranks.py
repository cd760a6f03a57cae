"""The communication between the processes (ranks) that train a net together, one for each device.

A run of one process has one rank, for which all of this does nothing.
"""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from typing_extensions import override

from demitasse.caffe.device import ProcessRank
from demitasse.caffe.layers.masked import Masked
from demitasse.caffe.net import Net
from demitasse.errors import DemitasseError, DivergedError, RankError

# variable with the meeting point of ranks started by `demitasse train`; torchrun has its own variables
MEETING = "DEMITASSE_MEETING"

# the others wait while rank 0 tests; if a rank ends, the process that started them ends the others
_PATIENCE = timedelta(hours=12)

Blobs = dict[str, Tensor]
T = TypeVar("T")


class Pass:
    """A forward pass through a net, with its loss."""

    def __init__(self, net: Net) -> None:
        self.net = net

    def __call__(
        self, batch: Mapping[str, Tensor], keep: Collection[str] = (), last: bool = True
    ) -> tuple[Blobs, Tensor]:
        """Runs the net.

        Args:
            batch: the blobs of the sources, by name.
            keep: the names of further blobs to return.
            last: whether the gradients are complete after the backward of this pass, so that they are averaged over
                the ranks.

        Returns:
            The blobs as :meth:`Net.forward` returns them, and the loss.
        """
        blobs = self.net(batch, keep)
        return blobs, self.net.loss(blobs)


class Ranks:
    """A run of one rank.

    If there are several ranks, all must make the same calls in the same order.

    Attributes:
        rank: the number of this process; rank 0 logs, tests and writes snapshots.
        size: the number of processes.
    """

    rank = 0
    size = 1

    def wrap(self, net: Net) -> Pass:
        """Returns a pass through a net whose gradients, after backward, are the means over the ranks."""
        return Pass(net)

    def mean(self, value: Tensor) -> Tensor:
        """Returns the mean of a value over the ranks, without gradient."""
        return value.detach()

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Returns for each flag whether it is set on any rank."""
        return flags

    def gather(self, value: T) -> list[T]:
        """Returns the values of all ranks, in their order."""
        return [value]

    def check_masks(self, net: Net, iteration: int) -> None:
        """Checks that the masks of all ranks are the same.

        Raises:
            DivergedError: they differ; the message has the ranks and the layer.
        """


class _Loss(nn.Module):
    """A net that returns only its loss, since DistributedDataParallel waits for gradients of all returned tensors."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net
        self.blobs: Blobs = {}
        # a net may have unused parameters; if torch is asked to look for them, it warns unless it finds one
        self.unused = nn.Parameter(torch.zeros((), device=next(net.parameters()).device))

    @override
    def forward(self, batch: Mapping[str, Tensor], keep: Collection[str]) -> Tensor:
        self.blobs = self.net(batch, keep)
        return self.net.loss(self.blobs)


class _SharedPass(Pass):
    """A pass whose backward averages the gradients over the ranks while it runs."""

    def __init__(self, net: Net) -> None:
        super().__init__(net)
        self._loss = _Loss(net)
        with warnings.catch_warnings():
            # newer versions of torch have renamed broadcast_buffers
            warnings.simplefilter("ignore", FutureWarning)
            # with find_unused_parameters, torch also keeps its buckets and thereby the order of its sums, so that a
            # resumed run is bit-identical
            self._parallel = DistributedDataParallel(
                self._loss, broadcast_buffers=False, find_unused_parameters=True, gradient_as_bucket_view=True
            )

    @override
    def __call__(
        self, batch: Mapping[str, Tensor], keep: Collection[str] = (), last: bool = True
    ) -> tuple[Blobs, Tensor]:
        with nullcontext() if last else self._parallel.no_sync():
            loss = self._parallel(batch, keep)
        blobs, self._loss.blobs = self._loss.blobs, {}
        return blobs, loss


class Joined(Ranks):
    """One of several ranks, over torch.distributed's default group."""

    def __init__(self) -> None:
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    @override
    def wrap(self, net: Net) -> Pass:
        learns = any(parameter.requires_grad for parameter in net.parameters())
        return _SharedPass(net) if learns else Pass(net)

    @override
    def mean(self, value: Tensor) -> Tensor:
        total = value.detach().clone()
        distributed.all_reduce(total)
        return total / self.size

    @override
    def any(self, *flags: bool) -> tuple[bool, ...]:
        shared = torch.tensor(flags, dtype=torch.uint8)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX)
        return tuple(map(bool, shared.tolist()))

    @override
    def gather(self, value: T) -> list[T]:
        values = [value] * self.size
        distributed.all_gather_object(values, value)
        return values

    @override
    def check_masks(self, net: Net, iteration: int) -> None:
        first, *others = self.gather({name: _sums(layer) for name, layer in net.named_layers().items()})
        for rank, sums in enumerate(others, 1):
            for name in (name for name in first if sums[name] != first[name]):
                raise DivergedError(f"iteration {iteration}: ranks 0 and {rank} have different masks in layer {name!r}")


def _sums(layer: nn.Module) -> list[int]:
    masks = [mask for _, mask in layer.masked().values()] if isinstance(layer, Masked) else []
    return [zlib.crc32(mask.contiguous().cpu().numpy().tobytes()) for mask in masks]


@contextmanager
def joined(process: ProcessRank, device: torch.device) -> Iterator[Ranks]:
    """Joins this process to the ranks of a run, for the duration of the context.

    An error that ends the run is raised by the rank where it happened first; the others exit without a message.

    Args:
        process: the rank of this process, see :func:`demitasse.caffe.device.process_rank`.
        device: the device it computes on.

    Raises:
        RankError: the connection to another rank was lost.
        SystemExit: another rank failed.
    """
    if process.size == 1:
        yield Ranks()
        return
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous(os.environ.get(MEETING, "env://"), process.rank, process.size))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # values that the ranks agree on are exchanged on the CPU, without waiting for a GPU
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=process.rank, world_size=process.size, timeout=_PATIENCE)
    try:
        yield Joined()
        # no rank closes its connections while another is still working
        distributed.barrier()
        distributed.destroy_process_group()
    except Exception as error:
        is_first = store.add("demitasse/failed", 1) == 1
        if device.type == "cpu":
            # nccl would wait here for the others
            distributed.destroy_process_group()
        if not is_first:
            raise SystemExit(1) from error
        if isinstance(error, DemitasseError):
            raise error.within(f"rank {process.rank}") from error
        if _is_loss_of_connection(error):
            raise RankError(f"rank {process.rank}: lost the connection to another rank, which has ended") from error
        raise


def _is_loss_of_connection(error: Exception) -> bool:
    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
