"""Sums and activations are computed by the step before them."""

from __future__ import annotations

from demitasse.graph.graph import Activation, Graph, Step
from demitasse.graph.products import is_convolution, is_inner_product


def fuse(graph: Graph) -> Graph:
    """Returns the graph with sums fused into convolutions, and activations into convolutions and inner products."""
    graph = graph.copy()
    for step in list(graph.steps):
        user = graph.only_user(step.outputs[0]) if is_convolution(step) else None
        if user and _is_sum(user):
            _add(graph, step, user)
    for step in list(graph.steps):
        if is_convolution(step) or is_inner_product(step):
            user = graph.only_user(step.outputs[0])
            step.activation = activation_of(user) if user else None
            if user and step.activation:
                graph.absorb(step, user)
    return graph


def activation_of(step: Step) -> Activation | None:
    """Returns the activation that a step is, if kernels know it."""
    settings = step.settings
    if step.kind == "Clip":
        return Activation("Clip", (settings.min, settings.max))
    if step.kind != "ReLU":
        return None
    return Activation("LeakyReLU", (settings.slope,)) if settings.slope else Activation("ReLU")


def _is_sum(step: Step) -> bool:
    """Tells whether a step is a sum of two values without factors."""
    if step.kind != "Eltwise":
        return False
    return step.settings.operation == "SUM" and not step.settings.coeff and len(set(step.inputs)) == 2


def _add(graph: Graph, step: Step, user: Step) -> None:
    """Moves a convolution to the place of the sum: there both summands are known."""
    step.inputs += [number for number in user.inputs if number not in step.outputs]
    step.adds = True
    step.outputs = user.outputs
    graph.steps.remove(step)
    graph.steps[graph.steps.index(user)] = step
