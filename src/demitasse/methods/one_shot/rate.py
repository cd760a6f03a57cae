"""The bits of a weight on a uniform grid, and the step at which a bit costs its price."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from demitasse.methods.one_shot import codebooks

_WIDEST = 127  # the largest whole number


def steps(weight: Tensor, curvature: Tensor, price: float, by_row: bool) -> Tensor:
    """Returns the steps at which one bit less for each weight costs the model its price.

    With an error of step^2 / 12 and -log2(step) bits, that is step^2 = 6 price / (curvature ln 2).

    Args:
        weight: (groups, rows, columns).
        curvature: (groups, rows, columns), what a unit of squared error of a weight costs the model.
        price: what a bit costs.
        by_row: whether each row has a step of its own, or all rows together.

    Returns:
        (groups, rows).

    Reference: Gish and Pierce 1968, Asymptotically efficient quantizing.
    """
    logs = curvature.clamp(min=torch.finfo(curvature.dtype).tiny).log()
    mean = logs.mean(2) if by_row else logs.mean().expand(logs.shape[:2])
    found = (6 * price / math.log(2) / mean.exp()).sqrt()
    largest = weight.abs().amax(2) if by_row else weight.abs().max()
    return torch.maximum(found, (largest / _WIDEST).clamp(min=torch.finfo(found.dtype).tiny))


def largest_number(weight: Tensor, step: Tensor) -> int:
    """Returns the largest magnitude of a weight in units of its step, at least 1."""
    return max(1, int((weight.abs().amax(2) / step).max().round()))


def bits(weight: Tensor, step: Tensor, curvature: Tensor, price: float) -> float:
    """Returns the entropy of a weight in bits, all entries together, if each is rounded to where it costs least.

    Args:
        weight: (groups, rows, columns).
        step: (groups, rows).
        curvature: (groups, rows, columns), what a unit of squared error of a weight costs the model.
        price: what a bit costs.
    """
    largest, scaled = largest_number(weight, step), weight / step.unsqueeze(2)
    nearest = scaled.round().clamp(-largest, largest)
    tried = torch.stack([nearest, nearest - nearest.sign(), torch.zeros_like(nearest)]).long() + largest
    prices = codebooks.bits(tried[0], 2 * largest + 1)
    costs = (scaled + largest - tried).square() * curvature * step.square().unsqueeze(2) + price * prices[tried]
    found = tried.gather(0, costs.argmin(0, keepdim=True))
    return float(codebooks.bits(found, 2 * largest + 1)[found].sum())
