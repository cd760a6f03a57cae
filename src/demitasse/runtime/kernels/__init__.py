"""What computes a step of a plan: one family of operations a file."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from demitasse.graph.graph import Step
from demitasse.graph.passes.fuse import activation_of
from demitasse.graph.products import is_convolution, is_inner_product
from demitasse.graph.weights import Weight, is_float32, is_on_cpu, size
from demitasse.runtime.cost import inner_product_pays
from demitasse.runtime.kernels import onednn
from demitasse.runtime.kernels.activation import in_place
from demitasse.runtime.kernels.normalization import LRNKernel
from demitasse.runtime.kernels.products import ConvolutionKernel, InnerProductKernel
from demitasse.runtime.kernels.sparse import SparseInnerProductKernel

Kernel = Callable[..., Tensor | tuple[Tensor, ...]]


def kernel(step: Step) -> Kernel:
    """Returns what computes a step: the layer that it was read from, where there is no kernel for it."""
    fused = onednn.available() and all(map(_is_plain, step.weights.values()))
    if is_convolution(step):
        images = len(step.settings.kernel) == 2
        return onednn.FusedConvolutionKernel(step) if fused and images else ConvolutionKernel(step)
    if is_inner_product(step):
        weight = step.weights["weight"]
        if fused and not step.adds and inner_product_pays(1, weight):
            return SparseInnerProductKernel(step)
        return onednn.FusedInnerProductKernel(step) if fused else InnerProductKernel(step)
    if step.kind == "LRN" and step.settings.across and fused:
        return LRNKernel(step)
    activation = activation_of(step)
    if activation and step.overwrites:
        return in_place(activation)
    return step.call


def _is_plain(weight: Weight) -> bool:
    """Tells whether a weight is one that our kernels and oneDNN's compute with."""
    return is_on_cpu(weight) and is_float32(weight) and size(weight) > 0
