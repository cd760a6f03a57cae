"""Passes: functions from a graph to a graph that computes the same, one a file. The graph given stays as it is."""

from __future__ import annotations

from functools import reduce

from demitasse.graph.graph import Graph
from demitasse.graph.passes.fold import fold_normalizations
from demitasse.graph.passes.fuse import fuse
from demitasse.graph.passes.identities import drop_identities
from demitasse.graph.passes.memory import plan_memory
from demitasse.graph.passes.normalization import merge_normalizations
from demitasse.graph.passes.unused import drop_unused

__all__ = [
    "PASSES",
    "drop_identities",
    "drop_unused",
    "fold_normalizations",
    "fuse",
    "merge_normalizations",
    "plan_memory",
    "planned",
]

# what makes a graph fast
PASSES = (drop_unused, drop_identities, merge_normalizations, fold_normalizations, fuse, plan_memory)


def planned(graph: Graph) -> Graph:
    """Returns a graph as it was read after all passes that make it fast."""
    return reduce(lambda made, apply: apply(made), PASSES, graph)
