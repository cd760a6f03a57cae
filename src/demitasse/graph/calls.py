"""What computes a step in PyTorch, by its kind, settings and weights."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from demitasse.graph.graph import Step
from demitasse.registry import Registry

# kind -> function of the settings, the weights and the inputs
CALLS: Registry[Callable[..., Tensor]] = Registry("function of a kind of step")
_CONVOLVE: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class Computed(nn.Module):
    """Computes a step.

    Args:
        step: of a kind in :data:`CALLS`.
    """

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._compute, self._settings = CALLS[step.kind], step.settings
        for name, weight in step.tensors.items():
            self.register_buffer(name, weight)

    @override
    def forward(self, *inputs: Tensor) -> Tensor:
        return self._compute(self._settings, self._buffers, *inputs)


def call_of(step: Step) -> nn.Module:
    """Returns the module that computes a step as its kind says."""
    return Computed(step)


Weights = dict[str, Tensor]


@CALLS.register("Convolution")
def _convolution(settings: SimpleNamespace, weights: Weights, x: Tensor) -> Tensor:
    geometry = settings.stride, settings.pad, settings.dilation, settings.group
    return _CONVOLVE[len(settings.kernel)](x, weights["weight"], weights.get("bias"), *geometry)


@CALLS.register("InnerProduct")
def _inner_product(settings: SimpleNamespace, weights: Weights, x: Tensor) -> Tensor:
    return F.linear(x.flatten(settings.axis), weights["weight"], weights.get("bias"))


@CALLS.register("BatchNorm")
def _batch_norm(settings: SimpleNamespace, weights: Weights, x: Tensor) -> Tensor:
    """Returns (x - mean) / sqrt(variance + eps) * weight + bias by channel; without a mean, by that of the batch."""
    rows = x if x.ndim > 1 else x[:, None]
    mean, variance, weight, bias = (weights.get(name) for name in ("mean", "variance", "weight", "bias"))
    top = F.batch_norm(rows, mean, variance, weight, bias, mean is None, eps=settings.eps)
    return top if x.ndim > 1 else top[:, 0]


@CALLS.register("Scale")
def _scale(settings: SimpleNamespace, weights: Weights, x: Tensor) -> Tensor:
    factor = weights["weight"].reshape(settings.expanded)
    if "bias" in weights:
        return torch.addcmul(weights["bias"].reshape(settings.expanded), x, factor)
    return x * factor


@CALLS.register("Bias")
def _bias(settings: SimpleNamespace, weights: Weights, x: Tensor) -> Tensor:
    return x + weights["bias"].reshape(settings.expanded)


@CALLS.register("ReLU")
def _relu(settings: SimpleNamespace, weights: Weights, x: Tensor) -> Tensor:
    return F.leaky_relu(x, settings.slope) if settings.slope else F.relu(x)


@CALLS.register("Clip")
def _clip(settings: SimpleNamespace, weights: Weights, x: Tensor) -> Tensor:
    return x.clamp(settings.min, settings.max)


@CALLS.register("Eltwise")
def _eltwise(settings: SimpleNamespace, weights: Weights, first: Tensor, *others: Tensor) -> Tensor:
    factors = list(settings.coeff) or [1.0] * (1 + len(others))
    total = first if factors[0] == 1 else first * factors[0]
    for other, factor in zip(others, factors[1:], strict=True):
        if settings.operation == "SUM":
            total = total + other if factor == 1 else torch.add(total, other, alpha=factor)
        else:
            total = total * other if settings.operation == "PROD" else torch.maximum(total, other)
    return total


@CALLS.register("Concat")
def _concat(settings: SimpleNamespace, weights: Weights, *inputs: Tensor) -> Tensor:
    return torch.cat(inputs, settings.axis)


@CALLS.register("Flatten")
def _flatten(settings: SimpleNamespace, weights: Weights, x: Tensor) -> Tensor:
    return x.flatten(settings.axis, settings.end_axis)


@CALLS.register("Reshape")
def _reshape(settings: SimpleNamespace, weights: Weights, x: Tensor) -> Tensor:
    middle = [size or x.shape[settings.start + index] for index, size in enumerate(settings.dims)]
    return x.reshape((*x.shape[: settings.start], *middle, *x.shape[settings.end :]))


@CALLS.register("GlobalMean")
def _global_mean(settings: SimpleNamespace, weights: Weights, x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=settings.keeps_axes)


@CALLS.register("Pooling")
def _pooling(settings: SimpleNamespace, weights: Weights, x: Tensor) -> Tensor:
    windows = settings.kernel, settings.stride, settings.pad
    if settings.method == "MAX":
        return torch.max_pool2d(x, *windows, 1, settings.ceil_mode)
    return F.avg_pool2d(x, *windows, settings.ceil_mode)


@CALLS.register("Softmax")
def _softmax(settings: SimpleNamespace, weights: Weights, x: Tensor) -> Tensor:
    return F.softmax(x, settings.axis)


@CALLS.register("LRN")
def _response(settings: SimpleNamespace, weights: Weights, x: Tensor) -> Tensor:
    """Returns x / s^beta with s = k + alpha / n * the sum of x^2 over n neighbouring channels."""
    squares = x.square()
    scale = squares.clone()
    for distance in range(1, min(settings.size // 2 + 1, x.shape[1])):
        scale[:, distance:] += squares[:, :-distance]
        scale[:, :-distance] += squares[:, distance:]
    scale.mul_(settings.alpha / settings.size).add_(settings.k)
    if settings.beta != 0.75:
        return x * scale.pow(-settings.beta)
    root = scale.rsqrt()  # five times as fast as pow
    return x * root.sqrt().mul_(root)
