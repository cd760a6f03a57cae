"""Finds the k smallest entries of compressed parameters: exactly k, in a fixed order, whatever the sharding.

A sample estimates the boundary. One pass over memory counts the entries below the estimate and collects those near
it; if the boundary is among them, no other pass is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import compress

import numpy as np
import torch
from torch import Tensor

from demitasse.methods import compiled, counts, exchange, shards
from demitasse.methods.counts import Limit
from demitasse.methods.exchange import ALL, FROZEN, Boundary, Near, Scales

_SAMPLE, _PIECE = 1 << 16, 1 << 20
_DEVIATIONS = 4  # search this number of standard deviations of the sample's share around the estimate
_LARGEST = (1 << 31) - 1
_AS_THEY_ARE = Scales()


class Ranked:
    """The free and cut entries of one parameter, ranked by their scores; a :data:`counts.Histogram`.

    Args:
        parameter: the parameter, whole or sharded.
        values: its effective values in this process.
        status: uint8 of the local shape.
        reserve: like ``values``, see :func:`exchange.scores`.
        scales: factors of the magnitudes.
    """

    def __init__(
        self, parameter: Tensor, values: Tensor, status: Tensor, reserve: Tensor, scales: Scales = _AS_THEY_ARE
    ) -> None:
        self.parameter = parameter
        self._tensors = values, status, reserve
        self._scales = scales

    def __call__(self, prefix: int, shift: int, width: int) -> Tensor:
        """Returns the counts of the whole parameter; see :data:`counts.Histogram`."""
        return shards.total(self.parameter, exchange.count(*self._tensors, self._scales, prefix, shift, width))

    def sample(self, step: int) -> Tensor | None:
        """Returns the bit patterns of every ``step``-th score, int32, ascending; -1 for frozen and pruned entries.

        Returns None if the parameter is sharded, or if :meth:`entries_in` has no loop for it.
        """
        arrays = None if shards.is_sharded(self.parameter) else compiled.flat(*self._tensors)
        if arrays is None:
            return None
        values, status, reserve = (torch.from_numpy(array[::step]) for array in arrays)
        keys = exchange.scores(values, status, reserve, self._scales).view(torch.int32)
        return keys.masked_fill(status >= FROZEN, -1).sort().values

    def entries_in(self, span: tuple[int, int]) -> Near | None:
        """Returns the entries whose bit patterns lie in a span; see :func:`exchange.gather`."""
        return exchange.gather(*self._tensors, self._scales, span)

    def boundary(self, limit: Limit, near: Near | None = None) -> Boundary:
        """Returns the boundary for a limit: turns its number of ties into a flat index.

        Args:
            limit: where the smallest entries end.
            near: the entries near the limit, if they are known.
        """
        # with infinite or NaN entries nothing is cut, so the ties do not matter
        if limit.nonfinite or limit.chosen in (0, limit.tied):
            return Boundary(limit.bound, ALL if limit.chosen else 0, None, *limit[3:])
        if not shards.is_sharded(self.parameter) and self._tensors[0].is_contiguous():
            after = self._after_tie(limit) if near is None else _after_tie(limit, near)
            return Boundary(limit.bound, after, None, *limit[3:])
        index = shards.flat_index(self.parameter)
        places = index[self._tied(self._tensors, limit.bound)]

        def histogram(prefix: int, shift: int, width: int) -> Tensor:
            return shards.total(self.parameter, counts.histogram_of(places, prefix, shift, width))

        last = counts.kth_index(histogram, limit.chosen, self.parameter.numel())
        return Boundary(limit.bound, last + 1, index, *limit[3:])

    def _after_tie(self, limit: Limit) -> int:
        """Returns the flat index after the last tie that counts as small; stops the search there."""
        start, left = 0, limit.chosen
        for part in zip(*(torch.split(tensor.reshape(-1), _PIECE) for tensor in self._tensors), strict=True):
            places = self._tied(part, limit.bound).nonzero().flatten()
            if left <= len(places):
                return start + int(places[left - 1]) + 1
            start, left = start + len(part[0]), left - len(places)
        raise AssertionError("there are fewer ties than were counted")

    def _tied(self, tensors: Sequence[Tensor], bound: float) -> Tensor:
        values, status, reserve = tensors
        return (exchange.scores(values, status, reserve, self._scales) == bound) & (status < FROZEN)


def _after_tie(limit: Limit, near: Near) -> int:
    key = int(np.float32(limit.bound).view(np.int32))
    return int(near.places[near.keys == key][limit.chosen - 1]) + 1


def smallest(
    parts: Sequence[Ranked], entries: Sequence[int], k: int, most: Sequence[int] | None = None
) -> list[Boundary]:
    """Returns the boundaries of the k smallest entries of several parameters; see :func:`counts.smallest`.

    Args:
        parts: the parameters.
        entries: number of entries of each, in all processes; frozen and pruned ones count as the smallest.
        k: number of small entries in all.
        most: the largest number of small entries in each parameter; None for no bound.
    """
    most = list(entries) if most is None else most
    boundaries = _near(parts, entries, k, most)
    if boundaries is None:
        limits = counts.smallest(parts, entries, k, most)
        boundaries = [part.boundary(limit) for part, limit in zip(parts, limits, strict=True)]
    return boundaries


def _near(parts: Sequence[Ranked], entries: Sequence[int], k: int, most: Sequence[int]) -> list[Boundary] | None:
    """Returns the result of :func:`smallest` after one pass; None if the boundary is not near its estimate."""
    span = _span(parts, entries, k, most)
    found = [part.entries_in(span) for part in parts] if span else []
    near = [one for one in found if one is not None]
    if len(near) < len(parts):
        return None
    # frozen and pruned entries are small, whatever the bounds
    caps = [max(min(number, cap), one.left_out) for number, cap, one in zip(entries, most, near, strict=True)]
    # a parameter whose own cap puts its boundary below the span contributes all that its cap allows
    inside = [one.below < cap for one, cap in zip(near, caps, strict=True)]
    those, bounds = list(compress(near, inside)), list(compress(caps, inside))
    ends = [one.below + len(one.keys) for one in those]
    rest = k - (sum(caps) - sum(bounds))
    if not sum(one.below for one in those) < rest <= sum(map(min, ends, bounds)):
        return None
    limits = iter(counts.smallest([_histogram(one) for one in those], ends, rest, bounds))
    boundaries = []
    for part, number, one, cap, is_inside in zip(parts, entries, near, caps, inside, strict=True):
        if is_inside:
            boundaries.append(part.boundary(next(limits)._replace(nonfinite=one.nonfinite), one))
        else:
            (limit,) = counts.smallest([part], [number], cap)
            boundaries.append(part.boundary(limit))
    return boundaries


def _histogram(near: Near) -> counts.Histogram:
    return lambda prefix, shift, width: counts.histogram_of(near.keys, prefix, shift, width)


def _span(parts: Sequence[Ranked], entries: Sequence[int], k: int, most: Sequence[int]) -> tuple[int, int] | None:
    """Returns the bit patterns that should enclose the boundary; None if two passes are cheap, or needed."""
    if sum(entries) < compiled.PARALLEL_FROM:
        return None
    # an odd step, so that the sample does not contain the same few columns of every row
    step = sum(entries) // _SAMPLE | 1
    found = [part.sample(step) for part in parts]
    samples = [sample for sample in found if sample is not None]
    if len(samples) < len(parts):
        return None
    # leave out what each parameter must keep
    within = [
        sample[: len(sample) * cap // max(number, 1)]
        for sample, number, cap in zip(samples, entries, most, strict=True)
    ]
    ranked = torch.cat(within).sort().values
    share = min(k / sum(entries), 1)
    place = share * sum(map(len, samples))
    off = _DEVIATIONS * math.sqrt(place * (1 - share)) + 2
    low, high = int(place - off), int(place + off)
    if low >= len(ranked):  # the caps do not allow that many
        return None
    return max(int(ranked[low]), 0) if low >= 0 else 0, int(ranked[high]) if high < len(ranked) else _LARGEST
