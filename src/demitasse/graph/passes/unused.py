"""Steps that nothing needs are dropped."""

from __future__ import annotations

from demitasse.graph.graph import Graph


def drop_unused(graph: Graph) -> Graph:
    """Returns the graph without the steps that no output depends on."""
    graph = graph.copy()
    needed = set(graph.outputs.values())
    kept = []
    for step in reversed(graph.steps):
        if needed.intersection(step.outputs) or not step.outputs:
            needed.update(step.inputs)
            kept.append(step)
    graph.steps = kept[::-1]
    return graph
