"""How the weights of Caffe's layers are matrices, for compression without training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.convolution import Convolution
from demitasse.caffe.layers.deconvolution import Deconvolution
from demitasse.caffe.layers.inner_product import InnerProduct
from demitasse.methods.homes import Home
from demitasse.methods.one_shot.views import (
    EVERY,
    VIEWS,
    Arguments,
    Named,
    Sample,
    View,
    chunked,
    transposed_columns,
    transposed_matrix,
    transposed_weight,
    windows,
)


@VIEWS.register("Convolution")
class CaffeConvolutionView(View):
    """A Convolution of any number of bottoms and axes."""

    @classmethod
    @override
    def matches(cls, home: Home) -> bool:
        return isinstance(home.module, Convolution) and home.role == "weight"

    @property
    def layer(self) -> Convolution:
        """The layer."""
        assert isinstance(self.home.module, Convolution)
        return self.home.module

    @override
    def matrix(self, weight: Tensor) -> Tensor:
        return weight.reshape(self.layer.group, weight.shape[0] // self.layer.group, -1)

    @override
    def weight(self, matrix: Tensor, shape: Sequence[int]) -> Tensor:
        return matrix.reshape(*shape)

    @override
    def columns(self, arguments: Arguments, named: Named, sample: Sample = EVERY) -> Iterator[Tensor]:
        for bottom in arguments:
            if isinstance(bottom, Tensor):
                items = bottom.flatten(0, self.layer.axis - 1) if self.layer.axis else bottom.unsqueeze(0)
                for part in chunked(items, math.prod(items.shape[1:]) * math.prod(self.layer.window.kernel)):
                    yield self.windows(part, sample)

    def windows(self, items: Tensor, sample: Sample) -> Tensor:
        """Returns the columns of (n, channels, sizes...)."""
        kernel, stride, pad, dilation = self.layer.window
        padded = F.pad(items, [side for size in reversed(pad) for side in (size, size)])
        return windows(padded, kernel, stride, dilation, self.layer.group, sample)


@VIEWS.register("Deconvolution")
class CaffeDeconvolutionView(CaffeConvolutionView):
    """A Deconvolution."""

    @classmethod
    @override
    def matches(cls, home: Home) -> bool:
        return isinstance(home.module, Deconvolution) and home.role == "weight"

    @override
    def matrix(self, weight: Tensor) -> Tensor:
        return transposed_matrix(weight, self.layer.group)

    @override
    def weight(self, matrix: Tensor, shape: Sequence[int]) -> Tensor:
        return transposed_weight(matrix, shape)

    @override
    def windows(self, items: Tensor, sample: Sample) -> Tensor:
        kernel, stride, pad, dilation = self.layer.window
        sides = [(size, size) for size in pad]
        return transposed_columns(items, kernel, stride, sides, dilation, self.layer.group, sample)


@VIEWS.register("InnerProduct")
class CaffeInnerProductView(View):
    """An InnerProduct, transposed or not."""

    @classmethod
    @override
    def matches(cls, home: Home) -> bool:
        return isinstance(home.module, InnerProduct) and home.role == "weight"

    @property
    def layer(self) -> InnerProduct:
        """The layer."""
        assert isinstance(self.home.module, InnerProduct)
        return self.home.module

    @override
    def matrix(self, weight: Tensor) -> Tensor:
        return (weight.t() if self.layer.transpose else weight).unsqueeze(0)

    @override
    def weight(self, matrix: Tensor, shape: Sequence[int]) -> Tensor:
        return matrix[0].t() if self.layer.transpose else matrix[0]

    @override
    def columns(self, arguments: Arguments, named: Named, sample: Sample = EVERY) -> Iterator[Tensor]:
        for bottom in arguments:
            if isinstance(bottom, Tensor):
                items = bottom.flatten(self.layer.axis)
                for part in chunked(items.reshape(-1, items.shape[-1]), items.shape[-1]):
                    yield part.t().unsqueeze(0)
