"""Fillers, which set the initial values of blobs.

A blob of shape (n, c, ...) has fan_in = count / n and fan_out = count / c.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from demitasse.caffe import schema
from demitasse.errors import NetError
from demitasse.registry import Registry

Shape = tuple[int, ...]
FILLERS: Registry[Callable[[schema.FillerParameter, Shape], Tensor]] = Registry("filler type")


def fill(filler: schema.FillerParameter, shape: Shape) -> Tensor:
    """Returns a new float32 tensor of ``shape``, filled by a FillerParameter; uses torch's global generator.

    Raises:
        UnknownNameError: the filler type is unknown.
        NetError: the filler cannot fill this shape.
    """
    rule = FILLERS[filler.type]
    try:
        return rule(filler, shape)
    except RuntimeError as error:  # torch refuses a min above max, a negative std, or a size beyond the memory
        raise NetError(f"{filler.type} cannot fill a blob of shape {list(shape)}: {error}") from error


@FILLERS.register("constant")
def constant(filler: schema.FillerParameter, shape: Shape) -> Tensor:
    """Fills with ``value``."""
    return torch.full(shape, filler.value, dtype=torch.float32)


@FILLERS.register("uniform")
def uniform(filler: schema.FillerParameter, shape: Shape) -> Tensor:
    """Fills uniformly between ``min`` and ``max``."""
    return torch.empty(shape).uniform_(filler.min, filler.max)


@FILLERS.register("gaussian")
def gaussian(filler: schema.FillerParameter, shape: Shape) -> Tensor:
    """Fills from the normal distribution with ``mean`` and ``std``; ``sparse`` k keeps about k inputs per output."""
    values = torch.empty(shape).normal_(filler.mean, filler.std)
    if filler.sparse >= 0:
        if not shape or not shape[0]:
            raise NetError(f"a sparse gaussian filler needs a first axis of 1 or more, found shape {list(shape)}")
        values *= torch.bernoulli(torch.full(shape, min(1.0, filler.sparse / shape[0])))
    return values


@FILLERS.register("positive_unitball")
def positive_unitball(filler: schema.FillerParameter, shape: Shape) -> Tensor:
    """Fills uniformly in 0..1, then divides each row (first axis) by its sum."""
    values = torch.rand(shape).reshape(shape[0] if shape else 1, -1)
    return (values / values.sum(1, keepdim=True)).reshape(shape)


def _fan(filler: schema.FillerParameter, shape: Shape) -> float:
    count = math.prod(shape)
    if not count:
        raise NetError(f"a {filler.type} filler needs at least one entry, found shape {list(shape)}")
    fan_in = count / shape[0] if shape else 1
    # a blob with one axis is treated as (n, 1)
    fan_out = count / shape[1] if len(shape) > 1 else count
    norm = schema.FillerParameter.VarianceNorm
    if filler.variance_norm == norm.Value("AVERAGE"):
        return (fan_in + fan_out) / 2
    return fan_out if filler.variance_norm == norm.Value("FAN_OUT") else fan_in


@FILLERS.register("xavier")
def xavier(filler: schema.FillerParameter, shape: Shape) -> Tensor:
    """Fills uniformly between -s and s with s = sqrt(3 / n), where n is the fan chosen by ``variance_norm``.

    Reference: Glorot and Bengio 2010, section 4.2.1.
    """
    limit = math.sqrt(3 / _fan(filler, shape))
    return torch.empty(shape).uniform_(-limit, limit)


@FILLERS.register("msra")
def msra(filler: schema.FillerParameter, shape: Shape) -> Tensor:
    """Fills from the normal distribution with deviation sqrt(2 / n), where n is the fan chosen by ``variance_norm``.

    Reference: He, Zhang, Ren, Sun 2015, section 2.2.
    """
    return torch.empty(shape).normal_(0, math.sqrt(2 / _fan(filler, shape)))


@FILLERS.register("bilinear")
def bilinear(filler: schema.FillerParameter, shape: Shape) -> Tensor:
    """Fills with the weights of bilinear upsampling, for blobs with four axes and a square kernel."""
    if len(shape) != 4 or shape[2] != shape[3]:
        raise NetError(f"a bilinear filler needs four axes and a square kernel, found shape {list(shape)}")
    size = shape[3]
    factor = math.ceil(size / 2)
    centre = (size - 1) / (2 * factor)
    line = 1 - (torch.arange(size) / factor - centre).abs()
    return (line[:, None] * line[None, :]).expand(shape).clone()
