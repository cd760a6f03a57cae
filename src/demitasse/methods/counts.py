"""Order statistics and sums from integer counts: the same numbers whatever the order and the sharding.

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

# counts of the next ``width`` bits of all keys that begin with a prefix: (prefix, shift, width) -> (2^width,) int64
Histogram = Callable[[int, int, int], Tensor]
# bits of a magnitude in float32 that one pass counts: few where there are few magnitudes, many where a pass is dear
_FEW, _MANY = (11, 11, 9), (16, 15)
_MANY_FROM = 1 << 20
_INDEX_BITS = 16
_PART = 1 << 20
# the pattern of infinity; those of NaN are larger
_INFINITE = 0xFF << 23


class Limit(NamedTuple):
    """Where the smallest entries of a parameter end.

    Attributes:
        bound: all magnitudes below it are among them.
        chosen: how many of those equal to it are, the first in the order of their flat indices.
        tied: how many are equal to it.
        small: how many there are in all, those that are left out of the histogram among them.
        endless: how many entries are infinite or NaN.
    """

    bound: float
    chosen: int
    tied: int
    small: int = 0
    endless: int = 0


def smallest(
    histograms: Sequence[Histogram], entries: Sequence[int], k: int, most: Sequence[int] | None = None
) -> list[Limit]:
    """Returns where the k smallest magnitudes of several parameters end: exactly k, ties broken by order.

    Of equal magnitudes those of the first parameter count as smaller, and in a parameter those of the lower flat
    index. Magnitudes are known by their histograms alone, summed over all processes, so the answer depends neither on
    sharding nor on ranks. The bit patterns of magnitudes in float32 are ordered as the magnitudes are; histograms of
    their digits find one among any number of them exactly.

    Args:
        histograms: of each parameter, see :data:`Histogram`; keys have 31 bits.
        entries: of each parameter. Entries that its histogram leaves out count as smaller than all others.
        k: how many to choose in all.
        most: how many may be chosen in each parameter at most; None for no such bound. Where the bounds allow fewer
            than k, all that they allow.
    """
    most = list(entries) if most is None else most
    caps = torch.tensor([min(pair) for pair in zip(entries, most, strict=True)])
    k = min(k, int(caps.sum()))
    prefix, shift, below, endless = 0, 31, torch.zeros_like(caps), torch.zeros_like(caps)
    for width in _MANY if max(entries) >= _MANY_FROM else _FEW:
        shift -= width
        found = torch.stack([histogram(prefix, shift, width).cpu() for histogram in histograms])
        if shift + width == 31:
            below = torch.tensor(entries) - found.sum(1)
            caps = torch.maximum(caps, below)  # what is left out stays out, whatever the bounds
            endless = found[:, _INFINITE >> shift :].sum(1)
        upto = below[:, None] + found.cumsum(1)
        digit = int(torch.searchsorted(torch.minimum(upto, caps[:, None]).sum(0), k))
        below, tied = upto[:, digit] - found[:, digit], found[:, digit]
        prefix = prefix << width | digit
    left = k - int(torch.minimum(below, caps).sum())
    limits = []
    for histogram, number, cap, less, equal, bad in zip(
        histograms, entries, caps.tolist(), below.tolist(), tied.tolist(), endless.tolist(), strict=True
    ):
        if less > cap:
            # what the parameter has to keep reaches below the common bound
            limits += smallest([histogram], [number], cap)
            continue
        chosen = max(min(equal, cap - less, left), 0)
        left -= chosen
        limits.append(Limit(float(np.int32(prefix).view(np.float32)), chosen, equal, less + chosen, bad))
    return limits


def kth_index(histogram: Histogram, k: int, size: int) -> int:
    """Returns the k-th smallest (from 1) of whole numbers below ``size`` that are known by their histograms alone."""
    digits = max(math.ceil((size - 1).bit_length() / _INDEX_BITS), 1)
    prefix = 0
    for shift in reversed(range(0, digits * _INDEX_BITS, _INDEX_BITS)):
        upto = histogram(prefix, shift, _INDEX_BITS).cpu().cumsum(0)
        digit = int(torch.searchsorted(upto, k))
        k -= int(upto[digit - 1]) if digit else 0
        prefix = prefix << _INDEX_BITS | digit
    return prefix


def histogram_of(keys: Tensor, prefix: int, shift: int, width: int) -> Tensor:
    """Returns the counts that :data:`Histogram` asks for.

    Args:
        keys: int32 or int64, flat, none negative.
        prefix: the bits found so far.
        shift: how many bits are below those that are counted.
        width: how many are counted.
    """
    is_first = keys.dtype == torch.int32 and shift + width == 31
    matching = keys if is_first else keys[keys >> (shift + width) == prefix]
    return torch.bincount((matching >> shift) & ((1 << width) - 1), minlength=1 << width)


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
    # of parts, so that a large tensor needs little memory besides its own
    peaks = [part.abs().amax().double() for part in _parts(values)]
    return torch.stack(peaks).amax() if peaks else values.new_zeros((), dtype=torch.float64)


def _sums(values: Tensor, scale: float, unit: float) -> Tensor:
    """Returns count, sum and sum of squares of the non-zero magnitudes, the sums in units of scale / unit."""
    sums = torch.zeros(3, dtype=torch.int64, device=values.device)
    for part in _parts(values):
        magnitude = part.double().abs() / scale
        rounded = [(power * unit).round().long().sum() for power in (magnitude, magnitude.square())]
        sums += torch.stack([torch.count_nonzero(magnitude), *rounded])
    return sums


def _parts(values: Tensor) -> Iterator[Tensor]:
    """Yields all entries, in any order, a million or so at a time."""
    if values.numel() <= _PART:
        yield from [values] if values.numel() else []
        return
    axis = max(range(values.ndim), key=lambda number: values.shape[number])
    middle = values.shape[axis] // 2
    for start, size in ((0, middle), (middle, values.shape[axis] - middle)):
        yield from _parts(values.narrow(axis, start, size))
