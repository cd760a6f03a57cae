"""A batch normalization and the scale behind it are one step, as everywhere but in Caffe."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from demitasse.graph.graph import Graph, Step
from demitasse.graph.weights import like


class Normalization(nn.Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias by channel (axis 1).

    Args:
        step: the step of a BatchNorm: without mean and variance it takes those of the batch, without weight and bias
            it does not scale.
    """

    mean: Tensor | None
    variance: Tensor | None
    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.eps = step.settings.eps
        weights = step.tensors
        for name in ("mean", "variance", "weight", "bias"):
            self.register_buffer(name, weights.get(name))

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        rows = bottom if bottom.ndim > 1 else bottom[:, None]
        by_batch = self.mean is None
        top = F.batch_norm(rows, self.mean, self.variance, self.weight, self.bias, by_batch, eps=self.eps)
        return top if bottom.ndim > 1 else top[:, 0]


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
        step.call = Normalization(step)
    return graph


def _scales_channels(graph: Graph, step: Step) -> bool:
    if step.kind != "Scale" or len(step.inputs) != 1:
        return False
    (shape,) = graph.shapes(step)
    return len(shape) > 1 and step.settings.expanded == (shape[1], *(1,) * (len(shape) - 2))
