"""Steps that change nothing are dropped."""

from __future__ import annotations

from demitasse.graph.graph import Graph, Step


def drop_identities(graph: Graph) -> Graph:
    """Returns the graph without the steps whose output is their input."""
    graph = graph.copy()
    same: dict[int, int] = {}
    kept = []
    for step in graph.steps:
        step.inputs = [same.get(number, number) for number in step.inputs]
        if _is_identity(step):
            same[step.outputs[0]] = step.inputs[0]
        else:
            kept.append(step)
    graph.steps = kept
    graph.outputs = {name: same.get(number, number) for name, number in graph.outputs.items()}
    return graph


def _is_identity(step: Step) -> bool:
    if step.kind == "Dropout":
        return step.settings.factor == 1 and not step.settings.samples
    return step.kind == "SpatialDropout"
