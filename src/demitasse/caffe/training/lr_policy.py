"""Learning rate policies: how the rate changes over the iterations.

All computations are in float32 as in Caffe, so that rates agree in all digits of its log.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from demitasse.caffe import schema
from demitasse.errors import UsageError
from demitasse.registry import Registry

Rate = np.float32
LR_POLICIES: Registry[Callable[[schema.SolverParameter, int], Rate]] = Registry("lr_policy")


def learning_rate(solver: schema.SolverParameter, iteration: int) -> float:
    """Returns the rate of an iteration (counted from 0): the policy's rate with warm-up, at least ``min_lr``.

    For iteration < rampup_interval: min(rate, r0 + (rate - r0) * iteration / rampup_interval), r0 = rampup_lr.

    Raises:
        UnknownNameError: the policy is unknown.
        UsageError: a setting of the policy is missing, or the rate is not a finite number.
    """
    if iteration < solver.warmup_iter:  # Intel's fork: from warmup_start_lr to base_lr, whatever the policy
        start, end = Rate(solver.warmup_start_lr), Rate(solver.base_lr)
        return float(start + (end - start) * (Rate(iteration) / Rate(solver.warmup_iter)))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        rate = LR_POLICIES[solver.lr_policy](solver, iteration)
    if not np.isfinite(rate):
        raise UsageError(f"solver: lr_policy {solver.lr_policy!r} gives {rate} at iteration {iteration}")
    if iteration < solver.rampup_interval:
        start = Rate(solver.rampup_lr)
        rate = min(rate, start + (rate - start) * (Rate(iteration) / Rate(solver.rampup_interval)))
    return float(max(rate, Rate(solver.min_lr)))


def current_step(solver: schema.SolverParameter, iteration: int) -> int:
    """Returns the number of steps taken up to an iteration, which Caffe stores in its solverstate."""
    if solver.lr_policy == "step":
        return iteration // _positive_stepsize(solver)
    if solver.lr_policy == "multistep":
        return sum(iteration >= step for step in solver.stepvalue)
    return 0


def _positive_stepsize(solver: schema.SolverParameter) -> int:
    if solver.stepsize < 1:
        raise UsageError(f"solver: stepsize is {solver.stepsize}; lr_policy {solver.lr_policy!r} expects 1 or more")
    return int(solver.stepsize)


@LR_POLICIES.register("fixed")
def fixed(solver: schema.SolverParameter, iteration: int) -> Rate:
    """Returns base_lr."""
    return Rate(solver.base_lr)


@LR_POLICIES.register("step", "multistep")
def step(solver: schema.SolverParameter, iteration: int) -> Rate:
    """Returns base_lr * gamma^k, k = floor(iteration / stepsize), or the number of stepvalues reached."""
    return Rate(solver.base_lr) * _power(solver.gamma, current_step(solver, iteration))


@LR_POLICIES.register("multifixed")
def multifixed(solver: schema.SolverParameter, iteration: int) -> Rate:
    """Returns stagelr[k] for the first k with iteration <= stageiter[k], else the last (in detection forks)."""
    rates, ends = list(solver.stagelr), list(solver.stageiter)
    if not rates or len(rates) != len(ends):
        raise UsageError(
            f"solver: found {len(ends)} stageiter and {len(rates)} stagelr; lr_policy 'multifixed' expects one for each"
        )
    return Rate(next((rate for rate, end in zip(rates, ends, strict=True) if iteration <= end), rates[-1]))


@LR_POLICIES.register("exp")
def exp(solver: schema.SolverParameter, iteration: int) -> Rate:
    """Returns base_lr * gamma^iteration."""
    return Rate(solver.base_lr) * _power(solver.gamma, iteration)


@LR_POLICIES.register("inv")
def inv(solver: schema.SolverParameter, iteration: int) -> Rate:
    """Returns base_lr * (1 + gamma * iteration)^-power."""
    base = Rate(1) + Rate(solver.gamma) * Rate(iteration)
    return Rate(solver.base_lr) * _power(base, -solver.power)


@LR_POLICIES.register("poly")
def poly(solver: schema.SolverParameter, iteration: int) -> Rate:
    """Returns base_lr * (1 - iteration / max_iter)^power; 0 beyond max_iter."""
    if solver.max_iter < 1:
        raise UsageError(f"solver: max_iter is {solver.max_iter}; lr_policy 'poly' expects 1 or more")
    left = max(Rate(1) - Rate(iteration) / Rate(solver.max_iter), Rate(0))
    return Rate(solver.base_lr) * _power(left, solver.power)


@LR_POLICIES.register("sigmoid")
def sigmoid(solver: schema.SolverParameter, iteration: int) -> Rate:
    """Returns base_lr / (1 + exp(-gamma * (iteration - stepsize)))."""
    exponent = -Rate(solver.gamma) * Rate(iteration - _positive_stepsize(solver))
    return Rate(solver.base_lr) / (Rate(1) + Rate(np.exp(np.float64(exponent))))


def _power(base: float | Rate, exponent: float) -> Rate:
    return Rate(np.float64(base) ** exponent)
