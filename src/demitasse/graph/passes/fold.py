"""Normalizations, scales and biases are folded into the convolution or the inner product before them.

With y = W x + b, what they make of a channel, z = f y + s, is (f W) x + (f b + s): the same but for rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from demitasse.graph.graph import Graph, Shape, Step
from demitasse.graph.products import is_convolution, is_inner_product
from demitasse.graph.weights import Doubles, doubles, like, scaled


class Affine(NamedTuple):
    """factor * x + summand by channel, both (channels,)."""

    factor: Doubles
    summand: Doubles


@np.errstate(all="ignore")
def fold_normalizations(graph: Graph) -> Graph:
    """Returns the graph with every step folded that can be; weights are computed in float64 and rounded once a fold.

    Packed weights keep their codes; the factors of their rows are kept beside them.
    """
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


@np.errstate(all="ignore")
def affine_of(step: Step, shape: Shape) -> Affine | None:
    """Returns what a step does to each channel (axis 1) of an input of this shape, if that is all it does."""
    if step.kind == "BatchNorm":
        weights = _values(step)
        return _of_statistics(weights, step.settings.eps) if "mean" in weights else None
    if step.kind not in ("Scale", "Bias") or len(step.inputs) == 2 or len(shape) < 2:
        return None
    if step.settings.expanded != (shape[1], *(1,) * (len(shape) - 2)):
        return None
    return _affine(**_values(step))


def _values(step: Step) -> dict[str, Doubles]:
    return {name: doubles(weight) for name, weight in step.weights.items()}


def _affine(weight: Doubles | None = None, bias: Doubles | None = None) -> Affine:
    given = weight if weight is not None else bias
    assert given is not None
    return Affine(
        np.ones_like(given) if weight is None else weight,
        np.zeros_like(given) if bias is None else bias,
    )


def _of_statistics(weights: dict[str, Doubles], eps: float) -> Affine:
    inverse = 1 / np.sqrt(weights["variance"] + eps)
    if "weight" not in weights:
        return Affine(inverse, -weights["mean"] * inverse)
    factor = weights["weight"] * inverse
    return Affine(factor, weights["bias"] - weights["mean"] * factor)


def _fold(step: Step, affine: Affine) -> None:
    weight, bias = step.weights["weight"], step.weights.get("bias")
    summand = affine.summand if bias is None else doubles(bias) * affine.factor + affine.summand
    step.weights |= {"weight": scaled(weight, affine.factor), "bias": like(weight, summand)}
