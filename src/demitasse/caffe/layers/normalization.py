"""LRN, BatchNorm and MVN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.caffe.layers.numeric import root
from demitasse.errors import NetError

_STATISTICS = 3  # number of blobs of BatchNorm that are not learnt


@LAYERS.register("LRN")
class LRN(Layer):
    """x / (k + alpha / n * sum of x^2)^beta over n neighbouring channels, or over an n by n window.

    For WITHIN_CHANNEL, k is always 1, as in Caffe.

    Reference: Krizhevsky, Sutskever, Hinton 2012, section 3.3.
    """

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.lrn_param
        if len(shapes[0]) != 4:
            raise NetError(f"LRN needs four axes, found a bottom of shape {list(shapes[0])}")
        self.size = settings.local_size
        if self.size % 2 == 0:
            raise NetError(f"local_size is {self.size}; expected an odd number")
        self.alpha, self.beta, self.k = settings.alpha, settings.beta, settings.k
        self.across = settings.norm_region == settings.ACROSS_CHANNELS

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        if self.across:
            return _across_channels(bottom, self.size, self.alpha, self.beta, self.k)
        mean = F.avg_pool2d(bottom.square(), self.size, 1, self.size // 2)
        return bottom * torch.pow(1 + self.alpha * mean, -self.beta)


class _AcrossChannels(torch.autograd.Function):
    """x / s^beta with s = k + alpha / n * window(x^2); on CPUs ten times as fast as torch's pooling and pow.

    The gradient is g / s^beta - 2 alpha beta / n * x * window(g x / s^(beta + 1)).
    """

    @staticmethod
    @override
    def forward(ctx: Any, bottom: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        scale = _window_sum(bottom.square(), size).mul_(alpha / size).add_(k)
        power = _negative_power(scale, beta)
        ctx.save_for_backward(bottom, scale, power)
        ctx.size, ctx.factor = size, -2 * alpha * beta / size
        return bottom * power

    @staticmethod
    @once_differentiable
    @override
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        bottom, scale, power = ctx.saved_tensors
        direct = gradient * power
        shared = _window_sum((direct * bottom).div_(scale), ctx.size)
        return direct.addcmul_(bottom, shared, value=ctx.factor), None, None, None, None


_across_channels: Callable[[Tensor, int, float, float, float], Tensor] = _AcrossChannels.apply


def _window_sum(values: Tensor, size: int) -> Tensor:
    """Returns the sums over ``size`` neighbouring channels (axis 1), or fewer at the ends."""
    total = values.clone()
    for distance in range(1, min(size // 2 + 1, values.shape[1])):
        total[:, distance:] += values[:, :-distance]
        total[:, :-distance] += values[:, distance:]
    return total


def _negative_power(values: Tensor, beta: float) -> Tensor:
    if beta != 0.75:
        return values.pow(-beta)
    # for the usual exponent, square roots are five times as fast as pow
    root = values.rsqrt()
    return root.sqrt().mul_(root)


@LAYERS.register("BatchNorm")
class BatchNorm(Layer):
    """(x - mean) / sqrt(variance + eps) for each channel (axis 1); a separate Scale layer scales the result.

    In training, mean and variance are computed from the batch, otherwise from the blobs.

    Blobs, not learnt: mean (channels,) and variance (channels,), both exponentially weighted sums with the decay
    ``moving_average_fraction``, and factor (1,), the sum of their weights. With ``scale_bias``, ``scale_filler`` or
    ``bias_filler`` of NVIDIA's fork, there are two more blobs, which are learnt: weight (channels,), which multiplies
    the result, and bias (channels,), which is added to it. A ``bias_filler`` beside Intel's ``filler`` has no meaning:
    it is for the Scale layer that the fork merges into this one.

    Reference: Ioffe and Szegedy 2015, algorithm 1.
    """

    has_blobs = True
    in_place = True
    mean: Tensor
    variance: Tensor
    factor: Tensor
    weight: Tensor
    bias: Tensor

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.batch_norm_param
        shape = shapes[0]
        self.fraction, self.eps = settings.moving_average_fraction, settings.eps
        # None: use the blobs in phase TEST, the batch in TRAIN
        self.use_blobs = settings.use_global_stats if settings.HasField("use_global_stats") else None
        channels = shape[1] if len(shape) > 1 else 1
        if self.spec.phase == schema.TRAIN and not self.use_blobs and math.prod(shape) == channels:
            raise NetError(
                f"BatchNorm needs more than one value per channel for training, found a bottom of shape {list(shape)}"
            )
        by_batch = self.spec.phase == schema.TRAIN if self.use_blobs is None else not self.use_blobs
        if by_batch and 0 < settings.stats_batch_size < shape[0]:
            raise NetError(
                f"stats_batch_size is {settings.stats_batch_size} for a batch of {shape[0]}; expected the whole batch: "
                "statistics of parts of a batch are not supported"
            )
        fillers = (
            ("scale_filler",) if settings.HasField("filler") else ("scale_filler", "bias_filler")
        )  # Intel's, NVIDIA's
        self.has_bias = settings.scale_bias or any(map(settings.HasField, fillers))
        self._fix_rates()
        self.add_blob("mean", (channels,), learnable=False)
        self.add_blob("variance", (channels,), learnable=False)
        self.add_blob("factor", (1,), learnable=False)
        if self.has_bias:
            ones = schema.FillerParameter(value=1)
            self.add_blob("weight", (channels,), settings.scale_filler if settings.HasField("scale_filler") else ones)
            self.add_blob("bias", (channels,), settings.bias_filler)

    def _fix_rates(self) -> None:
        params = self.spec.param
        for index, param in enumerate(params[:_STATISTICS]):
            if self.has_bias:  # NVIDIA's fork always sets them
                param.lr_mult = param.decay_mult = 0
            elif param.lr_mult:
                raise NetError(
                    f"param {index} has lr_mult {param.lr_mult:g}; expected 0: statistics of BatchNorm are not learnt"
                )
        params.extend(schema.ParamSpec(lr_mult=0, decay_mult=0) for _ in range(_STATISTICS - len(params)))

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        rows = bottom if bottom.ndim > 1 else bottom[:, None]
        top = self._by_blobs(rows) if self.by_blobs() else self._by_batch(rows)
        return top.reshape(bottom.shape)

    def _affine(self) -> tuple[Tensor, Tensor] | tuple[None, None]:
        return (self.weight, self.bias) if self.has_bias else (None, None)

    def by_blobs(self) -> bool:
        """Returns whether mean and variance currently come from the blobs."""
        return not self.training if self.use_blobs is None else self.use_blobs

    def statistics(self, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Returns mean and variance for each channel: the blobs divided by their factor, computed in ``dtype``."""
        mean, variance, factor = (blob.to(dtype or blob.dtype) for blob in (self.mean, self.variance, self.factor))
        weight = torch.where(factor == 0, 0, 1 / factor)
        return mean * weight, variance * weight

    def _by_blobs(self, bottom: Tensor) -> Tensor:
        mean, variance = self.statistics()
        weight, bias = self._affine()
        return F.batch_norm(bottom, mean, variance, weight, bias, eps=self.eps)

    def _by_batch(self, bottom: Tensor) -> Tensor:
        # with momentum 1, torch stores the batch's mean and unbiased variance here
        mean, variance = torch.zeros_like(self.mean), torch.zeros_like(self.variance)
        weight, bias = self._affine()
        top = F.batch_norm(bottom, mean, variance, weight, bias, training=True, momentum=1.0, eps=self.eps)
        with torch.no_grad():
            self.mean.mul_(self.fraction).add_(mean)
            self.variance.mul_(self.fraction).add_(variance)
            self.factor.mul_(self.fraction).add_(1)
        return top


@LAYERS.register("MVN")
class MVN(Layer):
    """(x - mean) / (deviation + eps) over each plane, or with ``across_channels`` over each item.

    With ``normalize_variance: false``, only the mean is subtracted.
    """

    in_place = True

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.mvn_param
        self.axes = 1 if settings.across_channels else 2
        self.divides, self.eps = settings.normalize_variance, settings.eps

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        rows = bottom.reshape(*bottom.shape[: self.axes], -1)
        centred = rows - rows.mean(-1, keepdim=True)
        if self.divides:
            centred = centred / (root(centred.square().mean(-1, keepdim=True), self.eps) + self.eps)
        return centred.reshape(bottom.shape)
