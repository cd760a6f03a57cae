"""Freezes the largest weights of one tensor at powers of two, as the Caffe layers of the original fork do.

Reference: Zhou, Yao, Guo, Xu, Chen 2017, Incremental Network Quantization (arXiv 1702.03044), section 2.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from demitasse.errors import MethodError
from demitasse.methods import pow2


class Portions(NamedTuple):
    """The frozen share of the weights that are not pruned, before and after a step."""

    before: float
    after: float


def portions(values: Sequence[float]) -> Portions:
    """Returns the portions before and after a step: the first two of a list, or 0 and the only one.

    Raises:
        MethodError: the list is empty, a portion is outside 0..1, or the portions decrease.
    """
    if not values:
        raise MethodError("portion is missing; expected two, the frozen share before and after this step")
    before, after = (0.0, values[0]) if len(values) == 1 else values[:2]
    for value in (before, after):
        if not 0 <= value <= 1:
            raise MethodError(f"portion is {value:g}; expected a share from 0 to 1")
    if before > after:
        raise MethodError(f"portion decreases from {before:g} to {after:g}; frozen weights stay frozen")
    return Portions(before, after)


def remaining(free: int, step: Portions) -> int:
    """Returns the number of free weights after a step: round(round(free / (1 - before)) * (1 - after)).

    Halves are rounded away from zero.
    """
    if step.before == 1 or step.after == 1:
        return 0
    return min(free, _round(_round(free / (1 - step.before)) * (1 - step.after)))


def _round(value: float) -> int:
    return math.floor(value + 0.5)


def partition(weight: Tensor, free: Tensor, keep: int) -> Tensor:
    """Returns which free entries to freeze: all but the ``keep`` smallest by magnitude.

    Entries that are equal to the smallest frozen one are frozen too.

    Reference: Zhou 2017, section 2.2, pruning-inspired strategy.

    Args:
        weight: any shape.
        free: bool, same shape.
        keep: number of entries that stay free, ties aside.

    Returns:
        bool, same shape.
    """
    magnitude = weight.abs()
    candidates = magnitude[free]
    if keep >= candidates.numel():
        return torch.zeros_like(free)
    return free & (magnitude >= torch.kthvalue(candidates, keep + 1).values)


def frozen_share(weight: Tensor, free: Tensor) -> float:
    """Returns the share of frozen nonzero entries among the entries that are not pruned; 1 if all are pruned."""
    frozen = int(torch.count_nonzero(weight[~free]))
    present = frozen + int(torch.count_nonzero(free))
    return frozen / present if present else 1.0


@dataclass(frozen=True)
class Frozen:
    """What :func:`freeze` did.

    Attributes:
        exponents: the grid; None if all weights are pruned.
        before: number of free entries before.
        after: number of free entries after.
        clipped: number of values that were beyond the grid and were clipped to it.
    """

    exponents: pow2.Exponents | None
    before: int
    after: int
    clipped: int = 0


def exponents_of(weight: Tensor, free: Tensor, levels: int) -> pow2.Exponents | None:
    """Returns the grid of a tensor: that of its frozen entries if any is nonzero, else that of its largest entry.

    Raises:
        MethodError: a frozen entry is neither zero nor a power of two, or the largest is not finite or beyond the
            powers of two of its type.
    """
    frozen = weight[~free]
    if not bool(pow2.on_grid(frozen).all()):
        raise MethodError("a frozen weight is neither zero nor a power of two; convert the model with model2INQ_raw")
    for values, fixed in ((frozen, True), (weight[free], False)):
        largest = values.abs().max().item() if values.numel() else 0.0
        if not math.isfinite(largest):
            raise MethodError(f"the largest weight is {largest}; expected a finite number")
        if largest:
            found = pow2.grid(largest, levels, fixed)
            pow2.check_largest(found.largest, weight.dtype, "quantization")
            return found
    return None


@torch.no_grad()
def freeze(weight: Tensor, free: Tensor, step: Portions, levels: int) -> Frozen:
    """Freezes the largest free weights at powers of two, in place, as the Caffe layers of the original fork do.

    The fork rounds magnitudes below 3/4 of the least power to zero, not below 1/2 as the paper's equation (4), and
    also freezes entries that are equal to the smallest frozen one.

    Reference: Zhou 2017, algorithm 1, steps 3 and 4.

    Args:
        weight: any shape; newly frozen entries are changed.
        free: bool, same shape, False = frozen; changed.
        step: the frozen share of the weights that are not pruned, before and after.
        levels: number of exponents, num_quantum_values in prototxts.

    Returns:
        What was frozen.

    Raises:
        MethodError: a weight cannot be quantized.
    """
    exponents = exponents_of(weight, free, levels)
    before = int(torch.count_nonzero(free))
    if step.after == 0 or exponents is None:
        return Frozen(exponents, before, before)
    chosen = partition(weight, free, remaining(before, step))
    values = weight[chosen]
    clipped = int(torch.count_nonzero((values != 0) & (pow2.exponent(values) > exponents.largest)))
    weight[chosen] = pow2.project(values, exponents, "fork")
    free &= ~chosen
    return Frozen(exponents, before, int(torch.count_nonzero(free)), clipped)
