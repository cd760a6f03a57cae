"""What stands for a layer in an exported graph, where the layer itself would leave more operations than needed."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demitasse.caffe.layers.eltwise import Eltwise
from demitasse.caffe.layers.normalization import LRN, MVN, BatchNorm
from demitasse.caffe.layers.pooling import Pooling
from demitasse.caffe.layers.recurrent import Recurrent
from demitasse.errors import ExportError
from demitasse.export.steps import Step
from demitasse.registry import Registry

FORMS: Registry[Callable[[Step], nn.Module]] = Registry("form of a layer")

# layer type -> why no graph of tensor operations can express it
IMPOSSIBLE = {
    "Filter": "how much it lets through depends on the values",
    "Python": "it runs Python code",
}


def form(step: Step) -> nn.Module:
    """Returns the module that computes a step.

    Raises:
        ExportError: no graph can express it; names the layer.
    """
    if step.kind in IMPOSSIBLE:
        raise ExportError(f"layer {step.name!r} of type {step.kind} cannot be exported: {IMPOSSIBLE[step.kind]}")
    return FORMS[step.kind](step) if step.kind in FORMS else step.layer


@FORMS.register("Dropout")
class Identity(nn.Module):
    """The bottom as it is, or as a dropout that does not scale in training scales it in testing."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.factor = step.layer.factor
        if step.layer.samples:
            raise ExportError(f"layer {step.name!r}: sample_weights_test draws at random, which the target cannot")

    def forward(self, bottom: Tensor) -> Tensor:
        return bottom if self.factor == 1 else bottom * self.factor


@FORMS.register("BatchNorm")
class Normalization(nn.Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias by channel, the last two from the Scale behind it."""

    mean: Tensor | None
    variance: Tensor | None
    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, step: Step) -> None:
        super().__init__()
        layer = step.layer
        assert isinstance(layer, BatchNorm)
        self.eps = layer.eps
        by_batch = layer.use_blobs is False
        mean, variance = (None, None) if by_batch else layer.statistics()
        weight = bias = None
        if step.scale is not None:
            weight = step.scale.weight.detach()
            bias = step.scale.bias.detach() if step.scale.has_bias else torch.zeros_like(weight)
        for name, value in (("mean", mean), ("variance", variance), ("weight", weight), ("bias", bias)):
            self.register_buffer(name, value)

    def forward(self, bottom: Tensor) -> Tensor:
        rows = bottom if bottom.ndim > 1 else bottom[:, None]
        by_batch = self.mean is None
        top = F.batch_norm(rows, self.mean, self.variance, self.weight, self.bias, by_batch, eps=self.eps)
        return top if bottom.ndim > 1 else top[:, 0]


@FORMS.register("LRN")
class LocalResponse(nn.Module):
    """x / (k + alpha / n * sum of x^2)^beta in torch's own words."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        assert isinstance(step.layer, LRN)
        self.layer = step.layer

    def forward(self, bottom: Tensor) -> Tensor:
        layer = self.layer
        if not layer.across:
            return layer(bottom)  # type: ignore[no-any-return]
        return F.local_response_norm(bottom, layer.size, layer.alpha, layer.beta, layer.k)


@FORMS.register("Eltwise")
class Elementwise(nn.Module):
    """The maximum as one operation: who gets the gradient of a tie matters no more."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        assert isinstance(step.layer, Eltwise)
        self.layer = step.layer

    def forward(self, *bottoms: Tensor) -> Tensor:
        if self.layer.operation == "MAX":
            return reduce(torch.maximum, bottoms)
        return self.layer(*bottoms)  # type: ignore[no-any-return]


class Pool(nn.Module):
    """Pooling that asks for windows over the edge only where there are some.

    Args:
        layer: a Pooling.

    Attributes:
        over_edge: for each axis, whether its last window reaches over the edge of the padded plane.
    """

    def __init__(self, layer: Pooling) -> None:
        super().__init__()
        self.layer = copy(layer)
        sizes = layer.top_shapes((1, 1, *layer.plane))[0][2:]
        axes = zip(layer.plane, layer.kernel, layer.stride, layer.pad, sizes, strict=True)
        self.over_edge = [
            (length + 2 * pad - kernel) // stride + 1 < size for length, kernel, stride, pad, size in axes
        ]
        self.layer.ceil_mode = any(self.over_edge)
        self.sizes = sizes

    def forward(self, bottom: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return self.layer(bottom)  # type: ignore[no-any-return]


@FORMS.register("Pooling")
def pooling(step: Step) -> nn.Module:
    """Returns the form of a Pooling."""
    return Pool(step.layer)


@FORMS.register("MVN")
class MeanVariance(nn.Module):
    """(x - mean) / (deviation + eps), without what only a gradient needs."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        assert isinstance(step.layer, MVN)
        self.layer = step.layer

    def forward(self, bottom: Tensor) -> Tensor:
        rows = bottom.flatten(self.layer.axes) if bottom.ndim > self.layer.axes else bottom[..., None]
        centred = rows - rows.mean(-1, keepdim=True)
        if self.layer.divides:
            centred = centred / (centred.square().mean(-1, keepdim=True).sqrt() + self.layer.eps)
        return centred.reshape(bottom.shape)


@FORMS.register("LSTM", "RNN")
class FromZero(nn.Module):
    """A recurrent layer whose every run begins with a state of zeros: graphs keep none."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        assert isinstance(step.layer, Recurrent)
        self.layer = copy(step.layer)
        self.hides = not self.layer.exposes
        self.layer.exposes = True

    def forward(self, bottom: Tensor, going_on: Tensor, *rest: Tensor) -> Tensor | tuple[Tensor, ...]:
        if not self.hides:
            return self.layer(bottom, going_on, *rest)  # type: ignore[no-any-return]
        zeros = bottom.new_zeros(1, bottom.shape[1], self.layer.units)
        top: Tensor = self.layer(bottom, going_on, *rest, *[zeros] * len(self.layer.parts))[0]
        return top
