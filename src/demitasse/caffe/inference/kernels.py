"""What computes in a plan in place of a layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from demitasse.caffe.layers.convolution import Convolution
from demitasse.caffe.layers.inner_product import InnerProduct
from demitasse.caffe.layers.normalization import LRN

# values of a piece of LRN; with what it is computed from, a piece stays in the cache
_PIECE = 1 << 18


@dataclass
class Activation:
    """What a kernel does last.

    Attributes:
        apply: does it to a tensor, in place.
        name: oneDNN's name for it.
        settings: oneDNN's parameters of it.
    """

    apply: Callable[[Tensor], Tensor]
    name: str
    settings: list[float]


class Kernel(ABC):
    """activation(product + bias + other), where other is a second bottom if there is one.

    Attributes:
        axis: of the bottom's channels; the outputs are on the same axis of the top.
        weight: (outputs, ...), the values that the layer computes with; new ones once something is folded in.
        bias: (outputs,) or None.
        activation: applied last, if not None.
        overwrites: whether the other bottom's memory may become the top's.
    """

    def __init__(self, layer: Convolution | InnerProduct) -> None:
        self.axis = layer.axis
        weight, bias = layer.effective()
        self.weight = weight.detach()
        self.bias = None if bias is None else bias.detach()
        self.activation: Activation | None = None
        self.overwrites = False

    def fold(self, factor: Tensor, summand: Tensor) -> None:
        """Takes in ``factor * top + summand``, both (outputs,) float64; the new values are rounded once."""
        weight, bias = self.weight.double(), 0.0 if self.bias is None else self.bias.double()
        self.bias = (bias * factor + summand).to(self.weight.dtype)
        self.weight = (weight * factor.reshape(-1, *[1] * (weight.ndim - 1))).to(self.weight.dtype)

    def __call__(self, bottom: Tensor, *other: Tensor) -> Tensor:
        top = self.multiply(bottom)
        for summand in other:
            top += summand
        return self.activation.apply(top) if self.activation else top

    def finish(self) -> tuple[str, list[float]]:
        """Returns oneDNN's name and parameters of the activation."""
        return (self.activation.name, self.activation.settings) if self.activation else ("none", [])

    @abstractmethod
    def multiply(self, bottom: Tensor) -> Tensor:
        """Returns product and bias, in memory of their own."""


class ConvolutionKernel(Kernel):
    """A Convolution with one bottom, by torch's own function."""

    def __init__(self, layer: Convolution) -> None:
        super().__init__(layer)
        self.layer = layer

    def multiply(self, bottom: Tensor) -> Tensor:
        return self.layer.convolve(bottom, self.weight, self.bias)


class InnerProductKernel(Kernel):
    """An InnerProduct, by torch's own function."""

    def __init__(self, layer: InnerProduct) -> None:
        super().__init__(layer)
        if layer.transpose:
            self.weight = self.weight.t()

    def multiply(self, bottom: Tensor) -> Tensor:
        return F.linear(bottom.flatten(self.axis), self.weight, self.bias)


class LRNKernel:
    """LRN across channels, channels last and piece by piece; the values are the layer's to the bit."""

    def __init__(self, layer: LRN) -> None:
        self.layer = layer

    def __call__(self, bottom: Tensor) -> Tensor:
        channels = bottom.shape[1]
        bottom = bottom.contiguous(memory_format=torch.channels_last)
        top = torch.empty_like(bottom)
        rows, results = (images.movedim(1, -1).view(-1, channels) for images in (bottom, top))
        size = max(1, _PIECE // channels)
        for piece, result in zip(torch.split(rows, size), torch.split(results, size), strict=True):
            result.copy_(self.layer(piece[..., None, None])[..., 0, 0])
        return top
