"""Normalizations, scales and biases are folded into the convolution or the inner product before them.

With y = W x + b, what they make of a channel, z = f y + s, is (f W) x + (f b + s): the same but for rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from demitasse.graph.graph import Graph, Shape, Step
from demitasse.graph.products import is_convolution, is_inner_product


class Affine(NamedTuple):
    """factor * x + summand by channel, both (channels,) float64."""

    factor: Tensor
    summand: Tensor


@torch.no_grad()
def fold_normalizations(graph: Graph) -> Graph:
    """Returns the graph with every step folded that can be; weights are computed in float64 and rounded once a fold."""
    graph = graph.copy()
    for step in list(graph.steps):
        while is_convolution(step) or (is_inner_product(step) and step.settings.axis == 1):
            user = graph.only_user(step.outputs[0])
            affine = affine_of(user, graph.values[step.outputs[0]].shape) if user else None
            if user is None or affine is None:
                break
            _fold(step, affine)
            graph.absorb(step, user)
    return graph


def affine_of(step: Step, shape: Shape) -> Affine | None:
    """Returns what a step does to each channel (axis 1) of an input of this shape, if that is all it does."""
    weights = {name: tensor.double() for name, tensor in step.weights.items()}
    if step.kind == "BatchNorm":
        return _of_statistics(weights, step.settings.eps) if "mean" in weights else None
    if step.kind not in ("Scale", "Bias") or len(step.inputs) == 2 or len(shape) < 2:
        return None
    if step.settings.expanded != (shape[1], *(1,) * (len(shape) - 2)):
        return None
    return _affine(**weights)


def _affine(weight: Tensor | None = None, bias: Tensor | None = None) -> Affine:
    given = weight if weight is not None else bias
    assert given is not None
    return Affine(
        torch.ones_like(given) if weight is None else weight,
        torch.zeros_like(given) if bias is None else bias,
    )


def _of_statistics(weights: dict[str, Tensor], eps: float) -> Affine:
    inverse = (weights["variance"] + eps).rsqrt()
    if "weight" not in weights:
        return Affine(inverse, -weights["mean"] * inverse)
    factor = weights["weight"] * inverse
    return Affine(factor, weights["bias"] - weights["mean"] * factor)


def _fold(step: Step, affine: Affine) -> None:
    weight, bias = step.weights["weight"], step.weights.get("bias")
    folded = weight.double() * affine.factor.reshape(-1, *[1] * (weight.ndim - 1))
    summand = affine.summand if bias is None else bias.double() * affine.factor + affine.summand
    step.weights |= {"weight": folded.to(weight.dtype), "bias": summand.to(weight.dtype)}
