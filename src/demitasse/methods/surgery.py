"""Dynamic Network Surgery: which weights are cut, and which are spliced back.

Reference: Guo, Yao, Chen 2016, Dynamic Network Surgery for Efficient DNNs (arXiv 1608.04493).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from demitasse.errors import MethodError


@dataclass(frozen=True)
class Schedule:
    """How hard and how long a layer is operated on.

    Attributes:
        c_rate: the threshold lies this many standard deviations above the mean magnitude.
        gamma: how fast surgery becomes rare.
        power: likewise.
        iter_stop: no surgery from this iteration on; none at all where it is negative.
        alpha_low: kept weights up to this multiple of the threshold are cut.
        alpha_high: cut weights above this multiple of the threshold are spliced back.

    Raises:
        MethodError: a value has no meaning.
    """

    c_rate: float
    gamma: float = 0.001
    power: float = 1.0
    iter_stop: float = math.inf
    alpha_low: float = 0.95
    alpha_high: float = 1.05

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if math.isnan(value):
                raise MethodError(f"{name} is NaN; expected a number")
        if self.gamma < 0:
            raise MethodError(f"gamma is {self.gamma:g}; expected 0 or more")
        if not 0 <= self.alpha_low <= self.alpha_high:
            raise MethodError(
                f"alpha_low is {self.alpha_low:g} and alpha_high {self.alpha_high:g}; "
                "expected 0 <= alpha_low <= alpha_high"
            )

    def operates(self, iteration: int, drawn: float) -> bool:
        """Returns whether there is surgery at an iteration.

        Args:
            iteration: counted from 0.
            drawn: a uniform random number in 0..1.
        """
        return iteration < self.iter_stop and probability(iteration, self.gamma, self.power) > drawn

    def bounds(self, statistics: Statistics) -> tuple[float, float]:
        """Returns the magnitudes (a, b) of :func:`decide`, in units of the weights."""
        t = np.float32(threshold(statistics, self.c_rate))
        return float(np.float32(self.alpha_low) * t), float(np.float32(self.alpha_high) * t)


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of the magnitudes of a layer's kept weights, in units of the weights."""

    mean: float
    deviation: float


def statistics(values: Sequence[Tensor], masks: Sequence[Tensor]) -> Statistics:
    """Returns the statistics of the kept non-zero entries of all tensors together.

    mean = sum |w| / n, deviation = sqrt((sum w^2 - n mean^2) / n). The sums run one entry after the other in
    float32, as the original's do: a more exact mean moves the threshold enough to change masks. (Over tens of
    millions of entries such sums stall and the mean comes out too small, there as here.) Without any such entry
    both are 0; a variance that rounding made negative counts as 0.

    Args:
        values: float tensors of any shape, such as weight and bias.
        masks: bool tensors of the same shapes, True = kept.
    """
    flat = np.concatenate([_numbers(v * m) for v, m in zip(values, masks, strict=True)])
    count = np.float32(np.count_nonzero(flat))
    if not count:
        return Statistics(0.0, 0.0)
    mean = np.abs(flat).cumsum(dtype=np.float32)[-1] / count
    variance = (np.square(flat).cumsum(dtype=np.float32)[-1] - count * mean * mean) / count
    return Statistics(float(mean), float(np.sqrt(np.maximum(variance, np.float32(0)))))


def _numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float32).contiguous().numpy().ravel()


def threshold(statistics: Statistics, c_rate: float) -> float:
    """Returns t = max(mean + c_rate * deviation, 0), computed in float32.

    Reference: Guo 2016, section 3.3.
    """
    t = np.float32(statistics.mean) + np.float32(c_rate) * np.float32(statistics.deviation)
    return float(max(t, np.float32(0)))


def probability(iteration: int, gamma: float, power: float) -> float:
    """Returns the probability (1 + gamma * iteration)^-power of surgery at an iteration.

    Reference: Guo 2016, section 3.3.
    """
    return float((1 + gamma * iteration) ** -power)


def decide(weight: Tensor, mask: Tensor, low: float, high: float) -> Tensor:
    """Returns the new mask: kept entries up to ``low`` are cut, cut ones above ``high`` come back.

    An entry that is NaN is kept, so that a diverged run does not look healthy.

    Reference: Guo 2016, equation (3).

    Args:
        weight: dense values, any shape.
        mask: bool, same shape, True = kept.
        low: a = alpha_low * t, in units of the weights.
        high: b = alpha_high * t; between the two nothing changes.
    """
    magnitude = weight.abs()
    return ~torch.where(mask, magnitude <= low, magnitude <= high)
