"""Positions of the items of a layered drawing within their ranks: in order, apart, in line with their neighbours."""

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
    """The neighbours of each item in the previous and in the next rank."""

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
        """Returns the mean position of the neighbours on these sides and its weight; straight ones count more."""
        near = [other for side in sides for other in side[item]]
        weights = [_STRAIGHT if self._straight(item, other) else 1.0 for other in near]
        total = sum(weights)
        if not total:
            return places[item], 0.1
        return sum(weight * places[other] for weight, other in zip(weights, near, strict=True)) / total, total

    def _straight(self, item: Node, other: Node) -> bool:
        """Whether both items are lanes, or boxes with a single connection between them."""
        if isinstance(item, Lane) and isinstance(other, Lane):
            return True
        start, end = (item, other) if other in self.after[item] else (other, item)
        return len(self.after[start]) == 1 and len(self.before[end]) == 1

    def straight_runs(self) -> list[list[Node]]:
        """Returns the longest straight connections; an item is in at most one."""
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
    """Moves every item towards the weighted mean of its neighbours, as far as order and distances allow.

    The first sweeps use the neighbours of one side in turn, which moves items far; the others use both sides, which
    balances them.

    Args:
        rows: the items of each rank, in order.
        edges: the neighbours of each item.
        widths: the width of each item.
        gap: the least distance between items.

    Returns:
        item -> position of its centre.
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
        for run in edges.straight_runs():
            _straighten(run, places, beside)
    return places


def _spread(
    row: Sequence[Node], wanted: Sequence[tuple[float, float]], widths: Mapping[Node, float], gap: float
) -> list[float]:
    """Returns the positions nearest to the wanted ones (position, weight), by least squares, in order and apart.

    After subtracting the distances this is an isotonic regression, solved by pooling adjacent violators.
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
    """Returns the left and right neighbours of each item in its rank, with the least distances to them."""
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
    """Moves the items of a straight connection to one line, if there is room."""
    low = max((places[other] + distance for item in run for other, distance in beside[item][0]), default=-inf)
    high = min((places[other] - distance for item in run for other, distance in beside[item][1]), default=inf)
    if low <= high:
        middle = sum(places[item] for item in run) / len(run)
        places.update(dict.fromkeys(run, min(max(middle, low), high)))
