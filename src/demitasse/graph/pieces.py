"""Some steps of a graph as a graph of their own."""

from __future__ import annotations

from collections.abc import Sequence

from demitasse.graph.graph import Graph, Step


def piece_of(graph: Graph, steps: Sequence[Step]) -> Graph:
    """Returns the graph of consecutive steps, with the same values; inputs and outputs have their numbers for names."""
    made = {number for step in steps for number in step.outputs}
    taken = {number for step in steps for number in step.inputs} - made
    inside = {id(step) for step in steps}
    needed = {number for step in graph.steps if id(step) not in inside for number in step.inputs}
    needed |= set(graph.outputs.values())
    return Graph(
        steps[0].name,
        graph.values,
        {str(number): number for number in sorted(taken)},
        {str(number): number for number in sorted(made & needed)},
        list(steps),
        without_batch=graph.without_batch,
    )
