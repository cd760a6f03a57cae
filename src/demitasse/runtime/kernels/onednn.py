"""Convolutions and inner products by oneDNN's fused operations, which finish a result while it is in registers.

torch's compiler calls the same operations. They are not public, so that a torch without them gets the kernels of
:mod:`demitasse.runtime.kernels.products`; measured, they take the greater part of the gain (docs/benchmarks.md).
"""

from __future__ import annotations

import torch
from torch import Size, Tensor
from typing_extensions import override

from demitasse.graph.graph import Activation
from demitasse.runtime.kernels.products import ConvolutionKernel, InnerProductKernel

_OPERATIONS = (
    "_convolution_pointwise",
    "_convolution_pointwise_",
    "_linear_pointwise",
    "_reorder_convolution_weight",
    "_reorder_linear_weight",
)

# kind of an activation -> oneDNN's name for it
_ACTIVATIONS = {"ReLU": "relu", "LeakyReLU": "leaky_relu", "Clip": "hardtanh"}


def available() -> bool:
    """Returns whether this torch has the operations."""
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATIONS)


def _named(activation: Activation | None) -> tuple[str, list[float]]:
    """Returns oneDNN's name and parameters of an activation."""
    return (_ACTIVATIONS[activation.kind], list(activation.numbers)) if activation else ("none", [])


class FusedConvolutionKernel(ConvolutionKernel):
    """A convolution over two spatial axes.

    The weight is brought into oneDNN's order for the bottom's shape, anew when another shape comes. The operation
    brings bottoms into the order channels_last, which takes longer than a 1x1 convolution that leaves them as they are.
    """

    shape: Size | None = None

    @override
    def __call__(self, bottom: Tensor, *other: Tensor) -> Tensor:
        settings = self.settings
        if max(settings.kernel) == 1 and not bottom.is_contiguous(memory_format=torch.channels_last):
            return super().__call__(bottom, *other)
        geometry = settings.pad, settings.stride, settings.dilation, settings.group
        if bottom.shape != self.shape:
            weight = self.weight.contiguous(memory_format=torch.channels_last)
            self.packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *geometry, bottom.shape)
            self.shape = bottom.shape
        name, numbers = _named(self.activation)
        product = (self.packed, self.bias, *geometry)
        last = ("add", 1, None if name == "none" else name, numbers, "")
        top: Tensor
        if not other:
            top = torch.ops.mkldnn._convolution_pointwise(bottom, *product, name, numbers, "")
        elif self.overwrites:
            top = torch.ops.mkldnn._convolution_pointwise_.binary(other[0], bottom, *product, *last)
        else:
            top = torch.ops.mkldnn._convolution_pointwise.binary(bottom, other[0], *product, *last)
        return top


class FusedInnerProductKernel(InnerProductKernel):
    """An inner product; the weight is brought into oneDNN's order when there is more than one row to multiply."""

    shape: Size | None = None

    @override
    def __call__(self, bottom: Tensor, *other: Tensor) -> Tensor:
        rows = bottom.flatten(self.settings.axis)
        if rows.ndim != 2 or len(rows) == 1 or other:
            return super().__call__(bottom, *other)
        if rows.shape != self.shape:
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.contiguous(), len(rows))
            self.shape = rows.shape
        top: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.packed, self.bias, *_named(self.activation), "")
        return top
