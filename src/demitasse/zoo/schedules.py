"""Learning rate schedules: factors of the largest rate, as pure functions of the share of the run, 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from demitasse.registry import Registry

# share of the run after the warm-up, 0 to 1 -> factor
SCHEDULES: Registry[Callable[[float], float]] = Registry("learning rate schedule")


@SCHEDULES.register("constant")
def constant(share: float) -> float:
    """Returns 1: the rate is constant."""
    return 1.0


@SCHEDULES.register("linear")
def linear(share: float) -> float:
    """Decreases linearly to 0; with a warm-up it is the one-cycle of Smith and Topin 2017 (arXiv 1708.07120)."""
    return 1 - share


@SCHEDULES.register("cosine")
def cosine(share: float) -> float:
    """Decreases to 0 as half a cosine: Loshchilov and Hutter 2017 (arXiv 1608.03983), equation (5), no restarts."""
    return (1 + math.cos(math.pi * share)) / 2


@SCHEDULES.register("step")
def step(share: float) -> float:
    """Decreases to a tenth at half of the run and a hundredth at three quarters: He et al. 2016, section 4.2."""
    return 1.0 if share < 0.5 else 0.1 if share < 0.75 else 0.01


def factor(name: str, total: int, warmup: float, step: int) -> float:
    """Returns the factor at a step counted from 0.

    Args:
        name: an entry of ``SCHEDULES``.
        total: number of steps of a cycle; after its end it starts again.
        warmup: share of the cycle, 0 to 1, in which the rate rises linearly from 0.
        step: the step, counted from 0.

    Raises:
        UnknownNameError: there is no such schedule.
    """
    step, rising = step % max(total, 1), round(total * warmup)
    if step < rising:
        return (step + 1) / rising
    return SCHEDULES[name]((step - rising) / max(total - rising, 1))


def scheduler(optimizer: Optimizer, name: str, total: int, warmup: float = 0.0) -> LambdaLR:
    """Returns a scheduler for an optimizer with the largest learning rates; step it after every update."""
    SCHEDULES[name]
    return LambdaLR(optimizer, partial(factor, name, total, warmup))
