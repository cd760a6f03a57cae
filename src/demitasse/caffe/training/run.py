"""What a snapshot keeps of a run."""

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
    """A run as snapshots see it; the solver is one.

    Attributes:
        param: the settings.
        prefix: what the paths of its snapshots begin with.
        device: where it computes.
        ranks: the processes that train together.
        net: the net in training.
        test_nets: the nets for tests.
        optimizer: has the history of every blob.
        generator: draws all that the ranks draw alike.
        seed: of all generators.
        iter: the number of updates done.
        losses: those that the displayed loss is the mean of.
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
