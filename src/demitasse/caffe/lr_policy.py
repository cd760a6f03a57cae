"""How the learning rate changes over the iterations."""

from __future__ import annotations

import math
from collections.abc import Callable

from demitasse.caffe import schema
from demitasse.errors import UsageError
from demitasse.registry import Registry

LR_POLICIES: Registry[Callable[[schema.Message, int], float]] = Registry("lr_policy")


def learning_rate(solver: schema.Message, iteration: int) -> float:
    """Returns the rate of an iteration (counted from 0): that of the policy, warmed up, at least ``min_lr``.

    For iteration < rampup_interval: min(rate, r0 + (rate - r0) * iteration / rampup_interval), r0 = rampup_lr.

    Raises:
        UnknownNameError: the policy is not known.
        UsageError: a setting of the policy is missing or has no meaning.
    """
    rate = LR_POLICIES[solver.lr_policy](solver, iteration)
    if iteration < solver.rampup_interval:
        start = float(solver.rampup_lr)
        rate = min(rate, start + (rate - start) * iteration / solver.rampup_interval)
    return max(rate, float(solver.min_lr))


def current_step(solver: schema.Message, iteration: int) -> int:
    """Returns the number of steps taken up to an iteration, as Caffe keeps it in its solver state."""
    if solver.lr_policy == "step":
        return iteration // _positive_stepsize(solver)
    if solver.lr_policy == "multistep":
        return sum(iteration >= step for step in solver.stepvalue)
    return 0


def _positive_stepsize(solver: schema.Message) -> int:
    if solver.stepsize < 1:
        raise UsageError(f"lr_policy {solver.lr_policy!r} needs stepsize > 0, found {solver.stepsize}")
    return int(solver.stepsize)


@LR_POLICIES.register("fixed")
def fixed(solver: schema.Message, iteration: int) -> float:
    """base_lr."""
    return float(solver.base_lr)


@LR_POLICIES.register("step", "multistep")
def step(solver: schema.Message, iteration: int) -> float:
    """base_lr * gamma^k, k = floor(iteration / stepsize), or the number of stepvalues reached."""
    return float(solver.base_lr * solver.gamma ** current_step(solver, iteration))


@LR_POLICIES.register("exp")
def exp(solver: schema.Message, iteration: int) -> float:
    """base_lr * gamma^iteration."""
    return float(solver.base_lr * solver.gamma**iteration)


@LR_POLICIES.register("inv")
def inv(solver: schema.Message, iteration: int) -> float:
    """base_lr * (1 + gamma * iteration)^-power."""
    return float(solver.base_lr * (1 + solver.gamma * iteration) ** -solver.power)


@LR_POLICIES.register("poly")
def poly(solver: schema.Message, iteration: int) -> float:
    """base_lr * (1 - iteration / max_iter)^power."""
    if solver.max_iter < 1:
        raise UsageError(f"lr_policy 'poly' needs max_iter > 0, found {solver.max_iter}")
    return float(solver.base_lr * max(0.0, 1 - iteration / solver.max_iter) ** solver.power)


@LR_POLICIES.register("sigmoid")
def sigmoid(solver: schema.Message, iteration: int) -> float:
    """base_lr / (1 + exp(-gamma * (iteration - stepsize)))."""
    exponent = -solver.gamma * (iteration - _positive_stepsize(solver))
    return float(solver.base_lr / (1 + math.exp(exponent))) if exponent < 700 else 0.0
