"""Passes: functions from a graph to a graph that computes the same, one a file. The graph given stays as it is."""

from demitasse.graph.passes.fold import fold_normalizations
from demitasse.graph.passes.fuse import fuse
from demitasse.graph.passes.identities import drop_identities
from demitasse.graph.passes.memory import plan_memory
from demitasse.graph.passes.normalization import merge_normalizations
from demitasse.graph.passes.unused import drop_unused

__all__ = ["drop_identities", "drop_unused", "fold_normalizations", "fuse", "merge_normalizations", "plan_memory"]
