"""Kernels by oneDNN's fused operations, which finish a result while it is in registers.

torch's compiler calls the same operations. They are not public, so that a torch without them gets the kernels of
:mod:`demitasse.caffe.inference.kernels`; measured, they take the greater part of the gain (docs/benchmarks.md).
"""

from __future__ import annotations

import torch
from torch import Size, Tensor

from demitasse.caffe.inference.kernels import ConvolutionKernel, InnerProductKernel

_OPERATIONS = (
    "_convolution_pointwise",
    "_convolution_pointwise_",
    "_linear_pointwise",
    "_reorder_convolution_weight",
    "_reorder_linear_weight",
)


def available() -> bool:
    """Returns whether this torch has the operations."""
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATIONS)


class FusedConvolutionKernel(ConvolutionKernel):
    """A convolution over two spatial axes.

    The weight is brought into oneDNN's order for the bottom's shape, anew when another shape comes.
    """

    shape: Size | None = None

    def __call__(self, bottom: Tensor, *other: Tensor) -> Tensor:
        window = self.layer.window
        geometry = window.pad, window.stride, window.dilation, self.layer.group
        if bottom.shape != self.shape:
            weight = self.weight.contiguous(memory_format=torch.channels_last)
            self.packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *geometry, bottom.shape)
            self.shape = bottom.shape
        name, settings = self.finish()
        product = (self.packed, self.bias, *geometry)
        last = ("add", 1, None if name == "none" else name, settings, "")
        top: Tensor
        if not other:
            top = torch.ops.mkldnn._convolution_pointwise(bottom, *product, name, settings, "")
        elif self.overwrites:
            top = torch.ops.mkldnn._convolution_pointwise_.binary(other[0], bottom, *product, *last)
        else:
            top = torch.ops.mkldnn._convolution_pointwise.binary(bottom, other[0], *product, *last)
        return top


class FusedInnerProductKernel(InnerProductKernel):
    """An InnerProduct; the weight is brought into oneDNN's order when there is more than one row to multiply."""

    shape: Size | None = None

    def __call__(self, bottom: Tensor, *other: Tensor) -> Tensor:
        rows = bottom.flatten(self.axis)
        if rows.ndim != 2 or len(rows) == 1 or other:
            return super().__call__(bottom, *other)
        if rows.shape != self.shape:
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.contiguous(), len(rows))
            self.shape = rows.shape
        top: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.packed, self.bias, *self.finish(), "")
        return top
