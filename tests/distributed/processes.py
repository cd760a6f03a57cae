"""Starts processes that train together, on this machine's CPU."""

from __future__ import annotations

import faulthandler
import hashlib
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing
from torch.multiprocessing.spawn import ProcessExitedException


def start(function: Callable[..., None], folder: Path, *arguments: Any, world: int = 2) -> None:
    """Runs ``function(rank, *arguments)`` in processes that form a group over gloo; raises what one of them raises.

    Gloo aborts a process now and then, of itself; a second run tells that from an abort that has a reason here.
    """
    meeting = folder / "meeting"
    for last in (False, True):
        meeting.unlink(missing_ok=True)
        try:
            multiprocessing.spawn(_enter, (function, world, meeting, arguments), nprocs=world)  # type: ignore[no-untyped-call]
            return
        except ProcessExitedException as error:
            if last or error.signal_name != "SIGABRT":
                raise


def _enter(rank: int, function: Callable[..., None], world: int, meeting: Path, arguments: tuple[Any, ...]) -> None:
    faulthandler.enable()
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    try:
        function(rank, *arguments)
        # nobody leaves, and takes its connections down, while another still works
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
    sys.stdout.flush()
    # threads of torch sometimes outlive the interpreter, which then aborts
    os._exit(0)


def digest(tensors: Iterable[Tensor]) -> str:
    """Returns a hash of the bits of tensors."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def all_equal(mine: str) -> bool:
    """Whether every process says the same."""
    said: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(said, mine)
    return len(set(said)) == 1
