"""Order statistics and sums from integer counts: the same numbers whatever the order and the sharding.

Sums of floats depend on their order, and so on how a tensor is split over processes; sums of integers do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from demitasse.methods import shards

# (histogram of) the next BITS bits of all patterns that begin with a prefix: (prefix, shift) -> (2^BITS,) int64
Histogram = Callable[[int, int], Tensor]
BITS = 11
# from the top of the 31 bits that a magnitude in float32 has
_SHIFTS = (20, 9, 0)
_WIDTHS = (11, 11, 9)


def kth_smallest(histogram: Histogram, k: int) -> float:
    """Returns the k-th smallest (from 1) of magnitudes that are known by their histograms alone.

    Magnitudes in float32 are ordered as the integers of their bit patterns are; three histograms of up to 11 bits
    find one among any number of them exactly.

    Args:
        histogram: gives, for a prefix and a shift, the counts of the next bits: patterns whose bits from
            ``shift + width`` up are the prefix, counted by the ``width`` bits above ``shift``; widths are 11, 11, 9.
        k: from 1 to the number of magnitudes.
    """
    prefix = 0
    for shift, width in zip(_SHIFTS, _WIDTHS, strict=True):
        counts = histogram(prefix, shift).cumsum(0)
        digit = int(torch.searchsorted(counts, torch.tensor(k, device=counts.device)))
        k -= int(counts[digit - 1]) if digit else 0
        prefix = prefix << width | digit
    return float(np.int32(prefix).view(np.float32))


def histogram_of(magnitudes: Tensor, prefix: int, shift: int) -> Tensor:
    """Returns the counts that :func:`kth_smallest` asks for.

    Args:
        magnitudes: float32, flat, none negative.
        prefix: the bits found so far.
        shift: 20, 9 or 0.
    """
    width = width_at(shift)
    bits = magnitudes.view(torch.int32)
    if shift + width < 31:
        bits = bits[bits >> (shift + width) == prefix]
    return torch.bincount((bits >> shift) & ((1 << width) - 1), minlength=1 << width)


def width_at(shift: int) -> int:
    """Returns how many bits are counted at a shift."""
    return _WIDTHS[_SHIFTS.index(shift)]


def mean_and_deviation(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Returns mean and standard deviation of the non-zero magnitudes of parameters, whatever their sharding.

    Magnitudes are rounded to multiples of 2^-b of a power of two above the largest, with b so large that 64-bit sums
    just cannot overflow (2^-37 for 16 million entries), and summed as integers; likewise their squares.

    Args:
        parts: (parameter, the values that lie in this process).
    """
    entries = sum(parameter.numel() for parameter, _ in parts)
    peak = max(float(shards.largest(parameter, _peak(values))) for parameter, values in parts)
    if not 0 < peak < math.inf:
        return (0.0, 0.0) if peak == 0 else (math.nan, math.nan)
    scale, unit = 2.0 ** math.frexp(peak)[1], 2.0 ** (62 - entries.bit_length())
    rows = [shards.total(parameter, _sums(values, scale, unit)).tolist() for parameter, values in parts]
    count, first, second = (sum(column) for column in zip(*rows, strict=True))
    mean, square = first / unit / count, second / unit / count
    return mean * scale, math.sqrt(max(square - mean * mean, 0.0)) * scale


def _peak(values: Tensor) -> Tensor:
    return values.abs().amax().double() if values.numel() else values.new_zeros((), dtype=torch.float64)


def _sums(values: Tensor, scale: float, unit: float) -> Tensor:
    """Returns count, sum and sum of squares of the non-zero magnitudes, the sums in units of scale / unit."""
    magnitude = values.double().abs() / scale
    sums = [(power * unit).round().long().sum() for power in (magnitude, magnitude.square())]
    return torch.stack([torch.count_nonzero(magnitude), *sums])
