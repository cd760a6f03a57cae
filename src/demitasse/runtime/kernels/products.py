"""Convolutions and inner products, with what follows them, by torch's public functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.graph.graph import Step
from demitasse.runtime.kernels.activation import in_place

# number of spatial axes -> convolution
_CONVOLVE: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class ProductKernel(ABC):
    """activation(product + bias + summand), where the summand is a second input if the step adds one.

    Args:
        step: a Convolution or an InnerProduct.

    Attributes:
        weight: (outputs, ...).
        bias: (outputs,) or None.
        activation: applied last, if not None.
        overwrites: whether the memory of the summand may become that of the result.
    """

    def __init__(self, step: Step) -> None:
        self.settings = step.settings
        weights = step.tensors
        self.weight = weights["weight"]
        self.bias = weights.get("bias")
        self.activation = step.activation
        self.overwrites = step.overwrites
        self._activate = in_place(step.activation) if step.activation else None

    def __call__(self, bottom: Tensor, *summands: Tensor) -> Tensor:
        """Returns the result, in memory of its own unless it may overwrite the summand."""
        top = self.multiply(bottom)
        for summand in summands:
            top += summand
        return self._activate(top) if self._activate else top

    @abstractmethod
    def multiply(self, bottom: Tensor) -> Tensor:
        """Returns product and bias, in memory of their own."""


class ConvolutionKernel(ProductKernel):
    """A convolution of (n, channels, 1 to 3 spatial axes)."""

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self._convolve = _CONVOLVE[len(step.settings.kernel)]

    @override
    def multiply(self, bottom: Tensor) -> Tensor:
        settings = self.settings
        return self._convolve(
            bottom, self.weight, self.bias, settings.stride, settings.pad, settings.dilation, settings.group
        )


class InnerProductKernel(ProductKernel):
    """An inner product of the axes from ``axis`` on, taken as one."""

    @override
    def multiply(self, bottom: Tensor) -> Tensor:
        return F.linear(bottom.flatten(self.settings.axis), self.weight, self.bias)
