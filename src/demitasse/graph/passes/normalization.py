"""A batch normalization and the scale behind it are one step, as everywhere but in Caffe."""

from __future__ import annotations

import numpy as np

from demitasse.graph.graph import Graph, Step
from demitasse.graph.weights import like


def merge_normalizations(graph: Graph) -> Graph:
    """Returns the graph with each Scale by channel merged into the BatchNorm before it.

    That is where nothing else takes what is between them, and the normalization does not scale by itself.
    """
    graph = graph.copy()
    for step in list(graph.steps):
        if step.kind != "BatchNorm":
            continue
        user = graph.only_user(step.outputs[0])
        if user is not None and "weight" not in step.weights and _scales_channels(graph, user):
            weight = user.weights["weight"]
            step.weights |= {"weight": weight, "bias": user.weights.get("bias", like(weight, np.zeros(weight.shape)))}
            graph.absorb(step, user)
        step.maker = None  # the layer knows nothing of weight and bias
    return graph


def _scales_channels(graph: Graph, step: Step) -> bool:
    if step.kind != "Scale" or len(step.inputs) != 1:
        return False
    (shape,) = graph.shapes(step)
    return len(shape) > 1 and step.settings.expanded == (shape[1], *(1,) * (len(shape) - 2))
