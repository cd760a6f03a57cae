"""How the weights of Caffe's layers are matrices, and what takes up changes, for compression without training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from demitasse.caffe.layers.bn import BN
from demitasse.caffe.layers.convolution import Convolution
from demitasse.caffe.layers.deconvolution import Deconvolution
from demitasse.caffe.layers.inner_product import InnerProduct
from demitasse.caffe.layers.normalization import BatchNorm
from demitasse.caffe.layers.scale import Scale
from demitasse.methods.homes import Home
from demitasse.methods.one_shot.absorbers import ABSORBERS, Absorber, absorb_in_statistics
from demitasse.methods.one_shot.calls import Arguments, Named
from demitasse.methods.one_shot.sampling import EVERY, Sample
from demitasse.methods.one_shot.views import (
    VIEWS,
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

    @property
    @override
    def channel_axis(self) -> int | None:
        return -1 - len(self.layer.window.kernel)

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

    @property
    @override
    def channel_axis(self) -> int | None:
        return -1

    @override
    def columns(self, arguments: Arguments, named: Named, sample: Sample = EVERY) -> Iterator[Tensor]:
        for bottom in arguments:
            if isinstance(bottom, Tensor):
                items = bottom.flatten(self.layer.axis)
                for part in chunked(items.reshape(-1, items.shape[-1]), items.shape[-1]):
                    yield part.t().unsqueeze(0)


@ABSORBERS.register("BatchNorm")
class CaffeBatchNormAbsorber(Absorber):
    """A BatchNorm that normalizes by its blobs."""

    @classmethod
    @override
    def matches(cls, module: nn.Module) -> bool:
        return isinstance(module, BatchNorm) and module.by_blobs() and bool(module.factor != 0)

    @property
    def layer(self) -> BatchNorm:
        """The layer."""
        assert isinstance(self.module, BatchNorm)
        return self.module

    @property
    @override
    def tensors(self) -> Sequence[Tensor]:
        return self.layer.mean, self.layer.variance

    @override
    def absorb(self, factor: Tensor, shift: Tensor) -> None:
        mean, variance = self.layer.statistics(torch.float64)
        absorb_in_statistics(mean, variance, self.layer.eps, factor, shift)
        # the blobs are sums, this one the sum of their weights
        self.layer.mean.copy_(mean * self.layer.factor)
        self.layer.variance.copy_(variance * self.layer.factor)


@ABSORBERS.register("BN")
class CaffeBNAbsorber(Absorber):
    """A BN that normalizes by its blobs, or SegNet's, that only multiplies and adds."""

    @classmethod
    @override
    def matches(cls, module: nn.Module) -> bool:
        return isinstance(module, BN) and module.axis == 1 and (module.is_affine or module.by_blobs())

    @property
    def layer(self) -> BN:
        """The layer."""
        assert isinstance(self.module, BN)
        return self.module

    @property
    @override
    def tensors(self) -> Sequence[Tensor]:
        return (self.layer.weight, self.layer.bias) if self.layer.is_affine else (self.layer.mean, self.layer.variance)

    @override
    def absorb(self, factor: Tensor, shift: Tensor) -> None:
        first, second = (blob.flatten() for blob in self.tensors)  # views
        if self.layer.is_affine:
            second.add_(first * shift)
            first.mul_(factor)
        else:
            absorb_in_statistics(first, second, self.layer.eps, factor, shift)


@ABSORBERS.register("Scale")
class CaffeScaleAbsorber(Absorber):
    """A Scale with a factor for each channel."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.has_shift = self.layer.has_bias

    @classmethod
    @override
    def matches(cls, module: nn.Module) -> bool:
        if not isinstance(module, Scale) or len(module.spec.bottom) > 1:
            return False
        return module.spec.scale_param.axis == 1 and module.spec.scale_param.num_axes == 1

    @property
    def layer(self) -> Scale:
        """The layer."""
        assert isinstance(self.module, Scale)
        return self.module

    @property
    @override
    def tensors(self) -> Sequence[Tensor]:
        return (self.layer.weight, self.layer.bias) if self.has_shift else (self.layer.weight,)

    @override
    def absorb(self, factor: Tensor, shift: Tensor) -> None:
        if self.has_shift:
            self.layer.bias.add_(self.layer.weight * shift)
        self.layer.weight.mul_(factor)
