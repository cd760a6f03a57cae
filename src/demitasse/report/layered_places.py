"""Where the items of a layered drawing lie within their ranks: in order, apart, and in line with their neighbours."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import accumulate, pairwise
from math import inf
from typing import NamedTuple

Node = Hashable
Edge = tuple[Node, Node]
_Beside = tuple[list[tuple[Node, float]], list[tuple[Node, float]]]

_SWEEPS, _PASSES = 12, 3
_STRAIGHT = 8.0


class Lane(NamedTuple):
    """The place of a long edge in a rank that it passes."""

    edge: Edge
    rank: int


class Neighbours:
    """What lies before and behind each item, in the ranks next to it."""

    def __init__(self, rows: Sequence[Sequence[Node]], chains: Mapping[Edge, Sequence[Node]]) -> None:
        self.before: dict[Node, list[Node]] = {item: [] for row in rows for item in row}
        self.after: dict[Node, list[Node]] = {item: [] for row in rows for item in row}
        for chain in chains.values():
            for start, end in pairwise(chain):
                self.before[end].append(start)
                self.after[start].append(end)

    def mean(
        self, item: Node, places: Mapping[Node, float], sides: Sequence[Mapping[Node, Sequence[Node]]]
    ) -> tuple[float, float]:
        """Returns the mean place of the neighbours on these sides, and its weight; straight ways weigh more."""
        near = [other for side in sides for other in side[item]]
        weights = [_STRAIGHT if self._straight(item, other) else 1.0 for other in near]
        total = sum(weights)
        if not total:
            return places[item], 0.1
        return sum(weight * places[other] for weight, other in zip(weights, near, strict=True)) / total, total

    def _straight(self, item: Node, other: Node) -> bool:
        """Tells lanes, and boxes with one way between them."""
        if isinstance(item, Lane) and isinstance(other, Lane):
            return True
        start, end = (item, other) if other in self.after[item] else (other, item)
        return len(self.after[start]) == 1 and len(self.before[end]) == 1

    def runs(self) -> list[list[Node]]:
        """Returns the longest straight ways, each item in one at most."""
        following = {
            item: near[0] for item, near in self.after.items() if len(near) == 1 and self._straight(item, near[0])
        }
        targets = set(following.values())
        found = []
        for item in following:
            if item in targets:
                continue
            run = [item]
            while run[-1] in following:
                run.append(following[run[-1]])
            found.append(run)
        return found


def places_across(
    rows: Sequence[Sequence[Node]], edges: Neighbours, widths: Mapping[Node, float], gap: float
) -> dict[Node, float]:
    """Moves every item to the weighted mean of its neighbours, as far as the order and the distances allow.

    First to those of one side in turn, which carries far, then to those of both, which balances.
    """
    places: dict[Node, float] = {}
    for row in rows:
        places.update(zip(row, _spread(row, [(0.0, 1.0)] * len(row), widths, gap), strict=True))
    sides = ([edges.before], [edges.after])
    for sweep in range(4 * _SWEEPS):
        considered = sides[sweep % 2] if sweep < _SWEEPS else [*sides[0], *sides[1]]
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = [edges.mean(item, places, considered) for item in row]
            places.update(zip(row, _spread(row, wanted, widths, gap), strict=True))
    beside = _beside(rows, widths, gap)
    for _ in range(_PASSES):
        for run in edges.runs():
            _straighten(run, places, beside)
    return places


def _spread(
    row: Sequence[Node], wanted: Sequence[tuple[float, float]], widths: Mapping[Node, float], gap: float
) -> list[float]:
    """Returns the places nearest to the wanted ones (place, weight), by squares, that keep order and distance.

    Less the distances it is an isotonic regression, which pooling adjacent violators solves.
    """
    steps = [0.0, *((widths[a] + widths[b]) / 2 + gap for a, b in pairwise(row))]
    offsets = list(accumulate(steps))
    blocks: list[tuple[float, float, int]] = []  # mean, weight, members
    for (place, weight), offset in zip(wanted, offsets, strict=True):
        block = (place - offset, weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, weight, members = blocks.pop()
            total = weight + block[1]
            block = ((mean * weight + block[0] * block[1]) / total, total, members + block[2])
        blocks.append(block)
    means = [mean for mean, _, members in blocks for _ in range(members)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _beside(rows: Sequence[Sequence[Node]], widths: Mapping[Node, float], gap: float) -> dict[Node, _Beside]:
    """Returns for each item what is on its left and on its right, and the least distances to them."""
    beside: dict[Node, _Beside] = {item: ([], []) for row in rows for item in row}
    for row in rows:
        for left, right in pairwise(row):
            distance = (widths[left] + widths[right]) / 2 + gap
            beside[right][0].append((left, distance))
            beside[left][1].append((right, distance))
    return beside


def _straighten(
    run: Sequence[Node],
    places: dict[Node, float],
    beside: Mapping[Node, _Beside],
) -> None:
    """Puts a straight way on one line where there is room for it."""
    low = max((places[other] + distance for item in run for other, distance in beside[item][0]), default=-inf)
    high = min((places[other] - distance for item in run for other, distance in beside[item][1]), default=inf)
    if low <= high:
        middle = sum(places[item] for item in run) / len(run)
        places.update(dict.fromkeys(run, min(max(middle, low), high)))
