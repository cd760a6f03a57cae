"""When the memory of a value is free: for the allocator, or for the next value."""

from __future__ import annotations

from demitasse.graph.graph import Graph, Step
from demitasse.graph.passes.fuse import activation_of

# kinds whose outputs share no memory with their inputs
_SEPARATE = {
    "Convolution",
    "InnerProduct",
    "Pooling",
    "LRN",
    "BatchNorm",
    "Scale",
    "Bias",
    "Eltwise",
    "ReLU",
    "Clip",
    "Softmax",
}


def plan_memory(graph: Graph) -> Graph:
    """Returns the graph with the values that are dead after each step, and what a step may overwrite."""
    graph = graph.copy()
    for step in graph.steps:
        step.dead.clear()
    makers = {number: step for step in graph.steps for number in step.outputs}
    returned = set(graph.outputs.values())
    users = graph.users()
    for number, steps in users.items():
        if number not in returned:
            steps[-1].dead.append(number)
    free = {
        number
        for number, maker in makers.items()
        if number not in returned and all(step.kind in _SEPARATE for step in (maker, *users[number]))
    }
    for step in graph.steps:
        changed = _changed(step)
        step.overwrites = changed in free.intersection(step.dead) and step.inputs.count(changed) == 1
    return graph


def _changed(step: Step) -> int:
    """Returns the number of the input whose memory could become that of the output; -1 if there is none."""
    if step.adds:
        return step.inputs[-1]
    return step.inputs[0] if activation_of(step) else -1
