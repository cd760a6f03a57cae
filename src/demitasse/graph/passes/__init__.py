"""Passes: functions from a graph to a graph that computes the same, one a file. The graph given stays as it is."""

from demitasse.graph.passes.fold import fold_normalizations
from demitasse.graph.passes.fuse import fuse
from demitasse.graph.passes.identities import drop_identities
from demitasse.graph.passes.memory import plan_memory
from demitasse.graph.passes.normalization import merge_normalizations

__all__ = ["drop_identities", "fold_normalizations", "fuse", "merge_normalizations", "plan_memory"]
