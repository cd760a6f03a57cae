"""The module that computes a step in an exported graph, where that of the step leaves more operations than needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from demitasse.errors import ExportError
from demitasse.export.detection import DETECTION
from demitasse.export.suppression import suppress_in_pairs
from demitasse.graph import Step
from demitasse.registry import Registry

FORMS: Registry[Callable[[Step], nn.Module]] = Registry("form of an operation")

# kind -> why no graph of tensor operations can express it
IMPOSSIBLE = {
    **dict.fromkeys(
        ("BoxAnnotatorOHEM", "DetectionEvaluate", "EvalDetection", "MultiBoxLoss"),
        "which boxes it counts depends on the values",
    ),
    "Filter": "how much it lets through depends on the values",
    "MultiStageMeanfield": "the lattice that it filters on depends on the values",
    "Python": "it runs Python code",
    "ROIPooling": "which entries it compares depends on the values",
}

_SMALLEST = torch.finfo(torch.float32).min


def form(step: Step) -> nn.Module:
    """Returns the module that computes a step.

    Raises:
        ExportError: no graph can express it; names the layer.
    """
    if step.kind in IMPOSSIBLE:
        raise ExportError(f"layer {step.name!r} of type {step.kind} cannot be exported: {IMPOSSIBLE[step.kind]}")
    if step.kind in DETECTION:
        return DETECTION[step.kind](step, suppress_in_pairs)
    return FORMS[step.kind](step) if step.kind in FORMS else step.call


@FORMS.register("Dropout")
class Scaled(nn.Module):
    """Dropout in use: the input as it is, or scaled where training does not scale what is left."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.factor: float = step.settings.factor
        if step.settings.samples:
            raise ExportError(f"layer {step.name!r}: sample_weights_test draws at random, which the target cannot do")

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return bottom if self.factor == 1 else bottom * self.factor


class LocalResponse(nn.Module):
    """x / (k + alpha / n * sum of x^2)^beta over channels, by torch's function."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.settings = step.settings

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        settings = self.settings
        return F.local_response_norm(bottom, settings.size, settings.alpha, settings.beta, settings.k)


@FORMS.register("LRN")
def local_response(step: Step) -> nn.Module:
    """Returns the form of an LRN."""
    return LocalResponse(step) if step.settings.across else step.call


class Maximum(nn.Module):
    """The maximum by one operation for each input: which of two equal values gets the gradient does not matter."""

    @override
    def forward(self, *bottoms: Tensor) -> Tensor:
        return reduce(torch.maximum, bottoms)


@FORMS.register("Eltwise")
def elementwise(step: Step) -> nn.Module:
    """Returns the form of an Eltwise."""
    return Maximum() if step.settings.operation == "MAX" else step.call


class Pool(nn.Module):
    """The maximum or the mean of windows, which are asked for over the edge only where there are some.

    Args:
        settings: of a Pooling, see :mod:`demitasse.graph.caffe.operations`.
        share: the factor of each window's sum, where a mean's windows are not torch's own.
        places: whether the places of the maxima are a second output.

    Attributes:
        over_edge: for each axis, whether its last window reaches over the edge of the padded plane.
    """

    share: Tensor | None

    def __init__(self, settings: SimpleNamespace, share: Tensor | None = None, places: bool = False) -> None:
        super().__init__()
        axes = zip(settings.plane, settings.kernel, settings.stride, settings.pad, settings.sizes, strict=True)
        self.over_edge = [
            (length + 2 * pad - kernel) // stride + 1 < size for length, kernel, stride, pad, size in axes
        ]
        self.is_maximum = settings.method == "MAX"
        self.kernel, self.stride = settings.kernel, settings.stride
        self.pad, self.margin = ((0, 0) if settings.margin else settings.pad), settings.margin
        self.ceil_mode = any(self.over_edge) and not settings.margin
        self.width = settings.plane[1]
        self.places = places
        self.register_buffer("share", share)

    @override
    def forward(self, bottom: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return self.maximum(bottom) if self.is_maximum else self.mean(bottom)

    def maximum(self, bottom: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Returns the largest value of each window, and their places if they are wanted."""
        padded = F.pad(bottom, self.margin, value=_SMALLEST) if self.margin else bottom
        if not self.places:
            return torch.max_pool2d(padded, self.kernel, self.stride, self.pad, 1, self.ceil_mode)
        top, places = F.max_pool2d(
            padded, self.kernel, self.stride, self.pad, ceil_mode=self.ceil_mode, return_indices=True
        )
        if self.margin:
            row, column = places // padded.shape[3] - self.margin[2], places % padded.shape[3] - self.margin[0]
            places = row * self.width + column
        return top, places.to(top.dtype)

    def mean(self, bottom: Tensor) -> Tensor:
        """Returns the mean of each window."""
        if self.share is None:
            return F.avg_pool2d(bottom, self.kernel, self.stride, self.pad, self.ceil_mode)
        return F.avg_pool2d(F.pad(bottom, self.margin), self.kernel, self.stride, divisor_override=1) * self.share


@FORMS.register("Pooling")
def pooling(step: Step) -> nn.Module:
    """Returns the form of a Pooling."""
    if step.settings.method == "STOCHASTIC":
        return step.call
    return Pool(step.settings, step.tensors.get("share"), len(step.outputs) == 2)


@FORMS.register("MVN")
class MeanVariance(nn.Module):
    """(x - mean) / (deviation + eps), without what only a gradient needs."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.settings = step.settings

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        axes = self.settings.axes
        rows = bottom.flatten(axes) if bottom.ndim > axes else bottom[..., None]
        centred = rows - rows.mean(-1, keepdim=True)
        if self.settings.divides:
            centred = centred / (centred.square().mean(-1, keepdim=True).sqrt() + self.settings.eps)
        return centred.reshape(bottom.shape)
