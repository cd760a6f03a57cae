from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demitasse.errors import UsageError
from demitasse.report.layered import GraphLayout, Size, layout
from demitasse.report.layered_places import Edge, Node

GAP = Size(10.0, 20.0)


def place(edges: list[Edge], sizes: dict[Node, Size] | None = None) -> GraphLayout:
    nodes = sorted({node for edge in edges for node in edge})  # type: ignore[type-var]
    return layout(sizes or dict.fromkeys(nodes, Size(30, 10)), edges, GAP)


def test_a_chain_is_straight() -> None:
    found = place([(0, 1), (1, 2), (2, 3)])
    assert [found.centres[node].along for node in range(4)] == [5, 35, 65, 95]
    assert {found.centres[node].across for node in range(4)} == {15}
    assert found.size == (30, 100)


def test_branches_stand_beside_each_other() -> None:
    found = place([(0, 1), (0, 2), (1, 3), (2, 3)])
    assert found.centres[1].along == found.centres[2].along
    assert abs(found.centres[1].across - found.centres[2].across) == pytest.approx(40)
    assert found.centres[0].across == found.centres[3].across == pytest.approx(35)


def test_a_long_edge_passes_the_boxes_between() -> None:
    found = place([(0, 1), (1, 2), (2, 3), (0, 3)])
    lanes = found.paths[0, 3][1:-1]
    assert len(lanes) == 2
    for box, lane in zip((1, 2), lanes, strict=True):
        assert abs(lane[0].across - found.centres[box].across) >= 15 + GAP.across
    assert len({point.across for pair in lanes for point in pair}) == 1


def test_what_nothing_leads_to_stands_before_its_use() -> None:
    found = place([(0, 1), (1, 3), (2, 3)])
    assert found.centres[2].along == found.centres[1].along


def test_crossings_are_avoided() -> None:
    # boxes 1, 2 lead to 4, 3 in this order
    found = place([(0, 1), (0, 2), (1, 4), (2, 3), (3, 5), (4, 5)])
    assert (found.centres[1].across < found.centres[2].across) == (found.centres[4].across < found.centres[3].across)


def test_nothing() -> None:
    assert layout({}, [], GAP) == GraphLayout({}, {}, Size(0, 0))
    assert layout({0: Size(4, 6)}, [], GAP).centres == {0: (2, 3)}


def test_what_nobody_could_see() -> None:
    edges: list[Edge] = [(start, end) for end in range(1, 100) for start in range(end)]
    with pytest.raises(UsageError, match="100 boxes with 4950 edges are too entangled"):
        place(edges)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[Node, Size], list[Edge]]:
    count = draw(st.integers(1, 12))
    pairs = list(combinations(range(count), 2))
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=25)) if pairs else []
    length = st.floats(1, 90)
    return {node: Size(draw(length), draw(length)) for node in range(count)}, edges


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_boxes_never_overlap_and_edges_lead_on(graph: tuple[dict[Node, Size], list[Edge]]) -> None:
    sizes, edges = graph
    found = layout(sizes, edges, GAP)
    for a, b in combinations(sizes, 2):
        across = abs(found.centres[a].across - found.centres[b].across) - (sizes[a].across + sizes[b].across) / 2
        along = abs(found.centres[a].along - found.centres[b].along) - (sizes[a].along + sizes[b].along) / 2
        assert across >= GAP.across - 1e-6 or along >= GAP.along - 1e-6
    for node, size in sizes.items():
        assert found.centres[node].across - size.across / 2 >= -1e-6
        assert found.centres[node].across + size.across / 2 <= found.size.across + 1e-6
    for edge in edges:
        points = [point.along for pair in found.paths[edge] for point in pair]
        assert all(first <= second + 1e-9 for first, second in pairwise(points))
