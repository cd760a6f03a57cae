"""Order statistics and sums from integer counts, which do not depend on order or sharding.

Sums of floats depend on their order, and so on how a tensor is split over processes; sums of integers do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from demitasse.methods import shards

# (prefix, shift, width) -> (2^width,) int64: counts of the next ``width`` bits of all keys that begin with ``prefix``
Histogram = Callable[[int, int, int], Tensor]
# bits of a float32 magnitude that each pass counts: few for small tensors, many for large ones, where a pass is slow
_FEW, _MANY = (11, 11, 9), (16, 15)
_MANY_FROM = 1 << 20
_INDEX_BITS = 16
_PART = 1 << 20
# the bit pattern of infinity; those of NaN are larger
_INFINITE = 0xFF << 23


class Limit(NamedTuple):
    """Where the smallest entries of a parameter end.

    Attributes:
        bound: all magnitudes below it are among the smallest.
        chosen: how many entries equal to ``bound`` are among the smallest: those with the lowest flat indices.
        tied: number of entries equal to ``bound``.
        small: number of smallest entries, those that the histogram leaves out included.
        nonfinite: number of entries that are infinite or NaN.
    """

    bound: float
    chosen: int
    tied: int
    small: int = 0
    nonfinite: int = 0


def smallest(
    histograms: Sequence[Histogram], entries: Sequence[int], k: int, most: Sequence[int] | None = None
) -> list[Limit]:
    """Returns where the k smallest magnitudes of several parameters end: exactly k, ties broken by order.

    Among equal magnitudes, those of an earlier parameter count as smaller, and within a parameter those with a lower
    flat index. The function uses only histograms, summed over all processes, so the result depends neither on
    sharding nor on ranks. The bit patterns of float32 magnitudes have the same order as the magnitudes; histograms of
    their digits find the k-th one exactly.

    Args:
        histograms: one for each parameter, see :data:`Histogram`; keys have 31 bits.
        entries: number of entries of each parameter. Entries that the histogram leaves out count as the smallest.
        k: how many entries to choose in all.
        most: the largest number to choose in each parameter; None for no bound. If the bounds allow fewer than k,
            all that they allow are chosen.

    Returns:
        One limit for each parameter.
    """
    most = list(entries) if most is None else most
    caps = torch.tensor([min(pair) for pair in zip(entries, most, strict=True)])
    k = min(k, int(caps.sum()))
    prefix, shift, below, nonfinite = 0, 31, torch.zeros_like(caps), torch.zeros_like(caps)
    for width in _MANY if max(entries) >= _MANY_FROM else _FEW:
        shift -= width
        found = torch.stack([histogram(prefix, shift, width).cpu() for histogram in histograms])
        if shift + width == 31:
            below = torch.tensor(entries) - found.sum(1)
            caps = torch.maximum(caps, below)  # entries that are left out are chosen whatever the bounds
            nonfinite = found[:, _INFINITE >> shift :].sum(1)
        upto = below[:, None] + found.cumsum(1)
        digit = int(torch.searchsorted(torch.minimum(upto, caps[:, None]).sum(0), k))
        below, tied = upto[:, digit] - found[:, digit], found[:, digit]
        prefix = prefix << width | digit
    left = k - int(torch.minimum(below, caps).sum())
    limits = []
    for histogram, number, cap, less, equal, bad in zip(
        histograms, entries, caps.tolist(), below.tolist(), tied.tolist(), nonfinite.tolist(), strict=True
    ):
        if less > cap:
            # the parameter must keep more, so its own bound is lower than the common one
            limits += smallest([histogram], [number], cap)
            continue
        chosen = max(min(equal, cap - less, left), 0)
        left -= chosen
        limits.append(Limit(float(np.int32(prefix).view(np.float32)), chosen, equal, less + chosen, bad))
    return limits


def kth_index(histogram: Histogram, k: int, size: int) -> int:
    """Returns the k-th smallest (from 1) of whole numbers below ``size``, given by their histogram."""
    digits = max(math.ceil((size - 1).bit_length() / _INDEX_BITS), 1)
    prefix = 0
    for shift in reversed(range(0, digits * _INDEX_BITS, _INDEX_BITS)):
        upto = histogram(prefix, shift, _INDEX_BITS).cpu().cumsum(0)
        digit = int(torch.searchsorted(upto, k))
        k -= int(upto[digit - 1]) if digit else 0
        prefix = prefix << _INDEX_BITS | digit
    return prefix


def histogram_of(keys: Tensor, prefix: int, shift: int, width: int) -> Tensor:
    """Returns the counts of a :data:`Histogram` of these keys.

    Args:
        keys: int32 or int64, flat, not negative.
        prefix: the leading bits of the keys to count.
        shift: number of bits below the counted ones.
        width: number of bits to count by.

    Returns:
        (2^width,) int64.
    """
    is_first = keys.dtype == torch.int32 and shift + width == 31
    matching = keys if is_first else keys[keys >> (shift + width) == prefix]
    return torch.bincount((matching >> shift) & ((1 << width) - 1), minlength=1 << width)


def mean_and_deviation(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Returns mean and standard deviation of the nonzero magnitudes of parameters, whatever their sharding.

    Magnitudes and their squares are rounded to multiples of 2^-b of a power of two above the largest, and summed as
    integers; b is the largest with which 64-bit sums cannot overflow (2^-37 for 16 million entries).

    Args:
        parts: (parameter, its values in this process) for each parameter.
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
    # part by part, so that a large tensor needs little extra memory
    peaks = [part.abs().amax().double() for part in _parts(values)]
    return torch.stack(peaks).amax() if peaks else values.new_zeros((), dtype=torch.float64)


def _sums(values: Tensor, scale: float, unit: float) -> Tensor:
    """Returns count, sum and sum of squares of the nonzero magnitudes; the sums in units of scale / unit."""
    sums = torch.zeros(3, dtype=torch.int64, device=values.device)
    for part in _parts(values):
        magnitude = part.double().abs() / scale
        rounded = [(power * unit).round().long().sum() for power in (magnitude, magnitude.square())]
        sums += torch.stack([torch.count_nonzero(magnitude), *rounded])
    return sums


def _parts(values: Tensor) -> Iterator[Tensor]:
    """Yields all entries, in any order, about a million at a time."""
    if values.numel() <= _PART:
        yield from [values] if values.numel() else []
        return
    axis = max(range(values.ndim), key=lambda number: values.shape[number])
    middle = values.shape[axis] // 2
    for start, size in ((0, middle), (middle, values.shape[axis] - middle)):
        yield from _parts(values.narrow(axis, start, size))
