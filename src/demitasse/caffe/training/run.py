"""The parts of a run that a snapshot stores."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from random import Random
from typing import Protocol

import torch
from torch import Tensor

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.training.optimizers import Optimizer
from demitasse.caffe.training.ranks import Ranks


class SolverRun(Protocol):
    """The interface of a solver for snapshots.

    Attributes:
        param: the settings.
        prefix: the beginning of the paths of its snapshots.
        device: the device it computes on.
        ranks: the processes that train together.
        net: the net in training.
        test_nets: the nets for tests.
        optimizer: the optimizer, with the history of every blob.
        generator: the generator of draws that are the same on all ranks.
        seed: the seed of all generators.
        iter: the number of updates done.
        losses: the losses whose mean is displayed.
        last_snapshot: the solverstate that was written or restored last.
    """

    param: schema.SolverParameter
    prefix: str
    device: torch.device
    ranks: Ranks
    net: Net
    test_nets: list[Net]
    optimizer: Optimizer
    generator: Random
    seed: int
    iter: int
    losses: deque[float | Tensor]
    last_snapshot: Path | None
