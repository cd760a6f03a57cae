"""Which entries of compressed parameters are the smallest: exactly so many, whatever the sharding, in a fixed order.

One pass over memory counts the leading bits of all magnitudes, and in the same pass all bits of those near where a
sample says that the boundary will be; where it is, that was the only pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from demitasse.methods import compiled, counts, exchange, shards
from demitasse.methods.exchange import ALL, FROZEN, ROW_BITS, ROWS, Boundary, Scales

_SAMPLE, _PIECE = 1 << 16, 1 << 20
_AS_THEY_ARE = Scales()


class Ranked:
    """The free and cut entries of one parameter, ranked by their scores; a :data:`counts.Histogram`.

    Args:
        parameter: the whole parameter, or a sharded one.
        values: its effective values in this process.
        status: uint8, of the local shape.
        reserve: like ``values``, see :func:`exchange.scores`.
        scales: factors of the magnitudes.
    """

    def __init__(
        self, parameter: Tensor, values: Tensor, status: Tensor, reserve: Tensor, scales: Scales = _AS_THEY_ARE
    ) -> None:
        self.parameter = parameter
        self._tensors = values, status, reserve
        self._scales = scales
        self._first = -1
        self._rows = torch.empty(0, 0)

    def __call__(self, prefix: int, shift: int, width: int) -> Tensor:
        row = prefix - self._first
        if (shift, width) == (0, ROW_BITS) and 0 <= row < len(self._rows):
            found = self._rows[row].clone()
        else:
            first = self._first if prefix == 0 and shift == ROW_BITS else -1
            found, rows = exchange.count(*self._tensors, self._scales, prefix, shift, width, first)
            self._rows = rows if len(rows) else self._rows
        return shards.total(self.parameter, found)

    def sample(self) -> Tensor:
        """Returns the scores of some entries, -1 for frozen and pruned ones; none where a pass costs little."""
        values, status, reserve = self._tensors
        arrays = compiled.flat(*self._tensors) if values.numel() >= compiled.PARALLEL_FROM else None
        if arrays is None:
            return torch.empty(0)
        # an odd step, so that it does not meet the same few columns in every row
        step = max(values.numel() // _SAMPLE, 1) | 1
        values, status, reserve = (torch.from_numpy(array[::step]) for array in arrays)
        return exchange.scores(values, status, reserve, self._scales).masked_fill(status >= FROZEN, -1)

    def look_near(self, score: float) -> None:
        """Lets the next count of leading bits look more closely near a score."""
        row = int(torch.tensor(score, dtype=torch.float32).view(torch.int32)) >> ROW_BITS
        self._first = max(row - ROWS // 2, 0)

    def boundary(self, limit: counts.Limit) -> Boundary:
        """Returns the boundary of a limit, which says how many of the ties lie below it."""
        if limit.chosen in (0, limit.tied):
            return Boundary(limit.bound, ALL if limit.chosen else 0, None, *limit[3:])
        if not shards.is_sharded(self.parameter) and self._tensors[0].is_contiguous():
            return Boundary(limit.bound, self._after_tie(limit), None, *limit[3:])
        index = shards.flat_index(self.parameter)
        places = index[self._tied(self._tensors, limit.bound)]

        def histogram(prefix: int, shift: int, width: int) -> Tensor:
            return shards.total(self.parameter, counts.histogram_of(places, prefix, shift, width))

        last = counts.kth_index(histogram, limit.chosen, self.parameter.numel())
        return Boundary(limit.bound, last + 1, index, *limit[3:])

    def _after_tie(self, limit: counts.Limit) -> int:
        """Returns where the ties that lie below the limit end, looking no further than to there."""
        start, left = 0, limit.chosen
        for part in zip(*(torch.split(tensor.reshape(-1), _PIECE) for tensor in self._tensors), strict=True):
            places = self._tied(part, limit.bound).nonzero().flatten()
            if left <= len(places):
                return start + int(places[left - 1]) + 1
            start, left = start + len(part[0]), left - len(places)
        raise AssertionError("the ties were counted")

    def _tied(self, tensors: Sequence[Tensor], bound: float) -> Tensor:
        values, status, reserve = tensors
        return (exchange.scores(values, status, reserve, self._scales) == bound) & (status < FROZEN)


def smallest(
    parts: Sequence[Ranked], entries: Sequence[int], k: int, most: Sequence[int] | None = None
) -> list[Boundary]:
    """Returns the boundaries of the k smallest entries of several parameters; see :func:`counts.smallest`.

    Args:
        parts: the parameters.
        entries: of each, in all processes; frozen and pruned ones among them count as smaller than all others.
        k: how many are small in all.
        most: how many may be in each parameter at most; None for no such bound.
    """
    _look_where_it_will_be(parts, sum(entries), k)
    limits = counts.smallest(parts, entries, k, most)
    return [part.boundary(limit) for part, limit in zip(parts, limits, strict=True)]


def _look_where_it_will_be(parts: Sequence[Ranked], entries: int, k: int) -> None:
    sample = torch.cat([part.sample() for part in parts])
    scores = sample[sample >= 0]
    if not len(scores):
        return
    ranked = sum(part.parameter.numel() for part in parts) * len(scores) / len(sample)
    place = round((k - max(entries - ranked, 0)) / ranked * len(scores))
    score = float(scores.kthvalue(min(max(place, 1), len(scores))).values)
    for part in parts:
        part.look_near(score)
