"""The processes that train a net together, one a device: what they tell each other.

Alone, a run is of one rank, and all of this does nothing.
"""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from typing_extensions import override

from demitasse.caffe.device import ProcessRank
from demitasse.caffe.layers.masked import Masked
from demitasse.caffe.net import Net
from demitasse.errors import DemitasseError, DivergedError, RankError

# where ranks that were started by `demitasse train` find each other; torchrun's have variables of their own
MEETING = "DEMITASSE_MEETING"

# the others wait while rank 0 tests; whoever started the ranks ends them all when one of them has ended
_PATIENCE = timedelta(hours=12)

Blobs = dict[str, Tensor]


class Pass:
    """A pass through a net up to its loss."""

    def __init__(self, net: Net) -> None:
        self.net = net

    def __call__(
        self, batch: Mapping[str, Tensor], keep: Collection[str] = (), last: bool = True
    ) -> tuple[Blobs, Tensor]:
        """Runs the net.

        Args:
            batch: the blobs that sources feed.
            keep: names of further blobs to return.
            last: whether the gradients are complete after this pass's backward, and the ranks' mean is taken.

        Returns:
            The blobs as :meth:`Net.forward` returns them, and the loss.
        """
        blobs = self.net(batch, keep)
        return blobs, self.net.loss(blobs)


class Ranks:
    """A run of one rank.

    Where there are several, all make the same calls in the same order.

    Attributes:
        rank: the number of this process, 0 for the one that logs, tests and writes snapshots.
        size: the number of processes.
    """

    rank = 0
    size = 1

    def wrap(self, net: Net) -> Pass:
        """Returns passes through a net after whose backward the gradients are the means over the ranks."""
        return Pass(net)

    def mean(self, value: Tensor) -> Tensor:
        """Returns the mean over the ranks, without gradient."""
        return value.detach()

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Returns for each flag whether it is set at any rank."""
        return flags

    def gather(self, value: Any) -> list[Any]:
        """Returns the values of all ranks."""
        return [value]

    def check_masks(self, net: Net, iteration: int) -> None:
        """Checks that the ranks agree on what is cut and what is frozen.

        Raises:
            DivergedError: they do not; says where.
        """


class _Loss(nn.Module):
    """A net that returns its loss alone: DistributedDataParallel waits for gradients of all that is returned."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net
        self.blobs: Blobs = {}
        # a net may have unused parameters; where torch is asked to look for them, it warns unless it finds one
        self.unused = nn.Parameter(torch.zeros((), device=next(net.parameters()).device))

    @override
    def forward(self, batch: Mapping[str, Tensor], keep: Collection[str]) -> Tensor:
        self.blobs = self.net(batch, keep)
        return self.net.loss(self.blobs)


class _SharedPass(Pass):
    """A pass whose backward averages the gradients over the ranks while it goes on."""

    def __init__(self, net: Net) -> None:
        super().__init__(net)
        self._loss = _Loss(net)
        with warnings.catch_warnings():
            # newer versions of torch have another name for broadcast_buffers
            warnings.simplefilter("ignore", FutureWarning)
            # where it looks for unused parameters it also keeps its buckets, and with them the order of its sums:
            # a resumed run has the same bits
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
    def gather(self, value: Any) -> list[Any]:
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    @override
    def check_masks(self, net: Net, iteration: int) -> None:
        first, *others = self.gather({name: _sums(layer) for name, layer in net.named_layers().items()})
        for rank, sums in enumerate(others, 1):
            for name in (name for name in first if sums[name] != first[name]):
                raise DivergedError(f"iteration {iteration}: ranks 0 and {rank} have other masks in layer {name!r}")


def _sums(layer: nn.Module) -> list[int]:
    masks = [mask for _, mask in layer.masked().values()] if isinstance(layer, Masked) else []
    return [zlib.crc32(mask.contiguous().cpu().numpy().tobytes()) for mask in masks]


@contextmanager
def joined(process: ProcessRank, device: torch.device) -> Iterator[Ranks]:
    """Takes part in a run, from first to last.

    An error that ends the run is raised by the rank where it happened first; the others leave without a word.

    Args:
        process: this rank's, see :func:`demitasse.caffe.device.process_rank`.
        device: where it computes.

    Raises:
        RankError: another rank was lost.
        SystemExit: another rank has failed.
    """
    if process.size == 1:
        yield Ranks()
        return
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous(os.environ.get(MEETING, "env://"), process.rank, process.size))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # what the ranks agree on lies on the CPU, so that no GPU is waited for
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=process.rank, world_size=process.size, timeout=_PATIENCE)
    try:
        yield Joined()
        # nobody takes its connections down while another still works
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
