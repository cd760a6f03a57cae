"""How long a batch takes: a plan beside the other ways to compute the same net."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from demitasse.runtime.plan import Plan

Run = Callable[[], object]
Progress = Callable[[int, int], None]


class Timing(NamedTuple):
    """How long one way takes.

    Attributes:
        name: of the way.
        milliseconds: for a batch, the median of the rounds.
        ratio: median over the rounds of the time divided by that of the first way.
    """

    name: str
    milliseconds: float
    ratio: float


def ways(plan: Plan, batch: Mapping[str, Tensor]) -> dict[str, Run]:
    """Returns the ways in which a plan can compute a batch: as it would itself first, then densely."""
    size = next((len(each) for each in batch.values() if isinstance(each, Tensor) and each.ndim), 1)
    native = plan.native(size, torch.get_num_threads())
    found: dict[str, Run] = {"sparse weights": lambda: native(batch)} if native else {}
    found["dense operations"] = lambda: plan.dense(batch)
    return found


def measured(runs: Mapping[str, Run], rounds: int, progress: Progress = lambda done, total: None) -> list[Timing]:
    """Returns how long each way takes. They run in turns, so that a busy machine slows all of them down alike.

    Args:
        runs: name -> what is timed.
        rounds: how often each is timed, after two rounds that do not count.
        progress: is called after each round.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 2):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number >= 2:
                times[name].append(1000 * (time.perf_counter() - start))
        progress(number + 1, rounds + 2)
    first = next(iter(times.values()))
    return [
        Timing(name, statistics.median(found), statistics.median(a / b for a, b in zip(found, first, strict=True)))
        for name, found in times.items()
    ]
