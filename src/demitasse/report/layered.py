"""The layout of a layered drawing of a directed graph: positions of boxes and paths of edges, after Sugiyama 1981.

Boxes are in consecutive ranks, so that every edge leads to a later rank. An edge over several ranks has a lane in each
rank that it passes. The layout is only geometry, in any unit: ``along`` runs from rank to rank, ``across`` within a
rank.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

from demitasse.errors import UsageError
from demitasse.report.layered_places import Edge, Lane, Neighbours, Node, places_across

_SWEEPS = 12
_MOST_LANES = 50_000


class Size(NamedTuple):
    """Extent of a box."""

    across: float
    along: float


class Point(NamedTuple):
    """A position."""

    across: float
    along: float


@dataclass(frozen=True)
class GraphLayout:
    """The positions of boxes and edges.

    Attributes:
        centres: box -> its centre.
        paths: edge -> pairs of points: the edge is straight within a pair, and bends from pair to pair.
        size: extent of the drawing, which begins at (0, 0).
    """

    centres: dict[Node, Point]
    paths: dict[Edge, list[tuple[Point, Point]]]
    size: Size


def layout(sizes: Mapping[Node, Size], edges: Sequence[Edge], gap: Size) -> GraphLayout:
    """Places boxes and edges.

    Args:
        sizes: box -> its extent; every box after those that lead to it.
        edges: each edge once, from an earlier box to a later one.
        gap: least distance between boxes of a rank, and between ranks.

    Returns:
        The layout, with few crossings and nearly straight lanes.

    Raises:
        UsageError: there are too many long edges for a readable drawing.
    """
    if not sizes:
        return GraphLayout({}, {}, Size(0.0, 0.0))
    ranks = _ranks(list(sizes), edges)
    if sum(ranks[end] - ranks[start] for start, end in edges) > _MOST_LANES:
        raise UsageError(f"{len(sizes)} boxes with {len(edges)} edges are too entangled to be drawn")
    chains = {edge: _chain(edge, ranks) for edge in edges}
    rows = _ordered(ranks, chains)
    widths = {item: sizes[item].across if item in sizes else gap.across / 2 for row in rows for item in row}
    across = places_across(rows, Neighbours(rows, chains), widths, gap.across)
    left = min(across[item] - widths[item] / 2 for item in across)
    across = {item: place - left for item, place in across.items()}
    depths = [max((sizes[item].along for item in row if item in sizes), default=0.0) for row in rows]
    begins = [sum(depths[:index]) + index * gap.along for index in range(len(rows))]
    centres = {node: Point(across[node], begins[ranks[node]] + depths[ranks[node]] / 2) for node in sizes}
    paths = {edge: _path(chain, across, centres, sizes, ranks, begins, depths) for edge, chain in chains.items()}
    return GraphLayout(centres, paths, Size(max(across[i] + widths[i] / 2 for i in across), begins[-1] + depths[-1]))


def _ranks(nodes: Sequence[Node], edges: Sequence[Edge]) -> dict[Node, int]:
    """Returns the rank of each node: the length of the longest path to it; a source is just before its first use."""
    before: dict[Node, list[Node]] = {node: [] for node in nodes}
    after: dict[Node, list[Node]] = {node: [] for node in nodes}
    for start, end in edges:
        before[end].append(start)
        after[start].append(end)
    ranks: dict[Node, int] = {}
    for node in nodes:
        ranks[node] = 1 + max((ranks[start] for start in before[node]), default=-1)
    for node in nodes:
        if not before[node] and after[node]:
            ranks[node] = min(ranks[end] for end in after[node]) - 1
    return ranks


def _chain(edge: Edge, ranks: Mapping[Node, int]) -> list[Node]:
    start, end = edge
    return [start, *(Lane(edge, rank) for rank in range(ranks[start] + 1, ranks[end])), end]


def _ordered(ranks: Mapping[Node, int], chains: Mapping[Edge, Sequence[Node]]) -> list[list[Node]]:
    """Returns the items of each rank in an order with few crossings, found by sweeps by the mean of neighbours."""
    rows: list[list[Node]] = [[] for _ in range(max(ranks.values()) + 1)]
    for node, rank in ranks.items():
        rows[rank].append(node)
    for chain in chains.values():
        for item in chain[1:-1]:
            assert isinstance(item, Lane)
            rows[item.rank].append(item)
    edges = Neighbours(rows, chains)
    best, fewest = rows, _crossings(rows, edges.after)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        rows = _sweep(rows, edges.after if sweep % 2 else edges.before, backwards=sweep % 2 == 1)
        found = _crossings(rows, edges.after)
        if found < fewest:
            best, fewest = rows, found
    return best


def _sweep(
    rows: Sequence[Sequence[Node]], neighbours: Mapping[Node, Sequence[Node]], backwards: bool
) -> list[list[Node]]:
    places: dict[Node, float] = {item: place for row in rows for place, item in enumerate(row)}
    result = [list(row) for row in rows]
    for row in reversed(result) if backwards else result:
        means = {
            item: fmean(places[near] for near in neighbours[item]) if neighbours[item] else places[item] for item in row
        }
        row.sort(key=means.__getitem__)
        places.update({item: place for place, item in enumerate(row)})
    return result


def _crossings(rows: Sequence[Sequence[Node]], after: Mapping[Node, Sequence[Node]]) -> int:
    count = 0
    for row, following in pairwise(rows):
        place = {item: index for index, item in enumerate(following)}
        ends = [end for item in row for end in sorted(place[near] for near in after[item])]
        seen: list[int] = []
        for end in ends:
            count += len(seen) - bisect_right(seen, end)
            insort(seen, end)
    return count


def _path(
    chain: Sequence[Node],
    across: Mapping[Node, float],
    centres: Mapping[Node, Point],
    sizes: Mapping[Node, Size],
    ranks: Mapping[Node, int],
    begins: Sequence[float],
    depths: Sequence[float],
) -> list[tuple[Point, Point]]:
    start, *lanes, end = chain
    first = begins[ranks[start]] + depths[ranks[start]]
    pairs = [(Point(across[start], centres[start].along + sizes[start].along / 2), Point(across[start], first))]
    for lane in lanes:
        assert isinstance(lane, Lane)
        begin = begins[lane.rank]
        pairs.append((Point(across[lane], begin), Point(across[lane], begin + depths[lane.rank])))
    begin = begins[ranks[end]]
    pairs.append((Point(across[end], begin), Point(across[end], centres[end].along - sizes[end].along / 2)))
    return pairs
