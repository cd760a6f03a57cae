"""BatchNorm, Scale and Bias folded into the convolution or the inner product before them.

With y = W x + b, what they make of a channel, z = f y + s, is (f W) x + (f b + s): the same but for rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from demitasse.caffe.inference.kernels import Kernel
from demitasse.caffe.inference.program import Program
from demitasse.caffe.layers import Layer, Shape
from demitasse.caffe.layers.normalization import BatchNorm
from demitasse.caffe.layers.scale import Bias, Broadcasting


class Affine(NamedTuple):
    """factor * x + summand by channel, both (channels,) float64."""

    factor: Tensor
    summand: Tensor


def fold(program: Program) -> None:
    """Folds what can be folded."""
    for step in list(program.steps):
        while isinstance(step.run, Kernel) and step.run.axis == 1:
            taker = program.only_taker(step.tops[0])
            affine = affine_of(taker.layer, program.shapes[step.tops[0]]) if taker else None
            if taker is None or affine is None:
                break
            step.run.fold(*affine)
            program.take_in(step, taker)


def affine_of(layer: Layer, shape: Shape) -> Affine | None:
    """Returns what a layer does to each channel (axis 1) of a bottom, if that is all it does."""
    if isinstance(layer, BatchNorm):
        return _of_statistics(layer) if layer.by_blobs() else None
    if not isinstance(layer, Broadcasting) or layer.expanded != (*shape[1:2], *[1] * len(shape[2:])):
        return None
    values = [blob.detach().double() for blob in layer.blobs()]
    if len(layer.spec.bottom) == 2 or len(shape) < 2:
        return None
    if isinstance(layer, Bias):
        return Affine(torch.ones_like(values[0]), values[0])
    return Affine(values[0], values[1] if len(values) == 2 else torch.zeros_like(values[0]))


def _of_statistics(layer: BatchNorm) -> Affine:
    mean, variance = layer.statistics(torch.float64)
    inverse = (variance + layer.eps).rsqrt()
    if not layer.has_bias:
        return Affine(inverse, -mean * inverse)
    factor = layer.weight.detach().double() * inverse
    return Affine(factor, layer.bias.detach().double() - mean * factor)
