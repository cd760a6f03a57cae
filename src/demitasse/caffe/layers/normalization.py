"""LRN and BatchNorm."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.errors import NetError


@LAYERS.register("LRN")
class LRN(Layer):
    """x / (k + alpha / n * sum of x^2)^beta over n neighbouring channels, or over an n by n window.

    Within a channel k is 1, whatever the net says, as in Caffe.

    Reference: Krizhevsky, Sutskever, Hinton 2012, section 3.3.
    """

    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.lrn_param
        if len(shapes[0]) != 4:
            raise NetError(f"LRN needs four axes, found a bottom of shape {list(shapes[0])}")
        self.size = settings.local_size
        if self.size % 2 == 0:
            raise NetError(f"local_size must be odd, found {self.size}")
        self.alpha, self.beta, self.k = settings.alpha, settings.beta, settings.k
        self.across = settings.norm_region == settings.ACROSS_CHANNELS

    def forward(self, bottom: Tensor) -> Tensor:
        if self.across:
            return F.local_response_norm(bottom, self.size, self.alpha, self.beta, self.k)
        mean = F.avg_pool2d(bottom.square(), self.size, 1, self.size // 2)
        return bottom * (1 + self.alpha * mean).pow(-self.beta)


@LAYERS.register("BatchNorm")
class BatchNorm(Layer):
    """(x - mean) / sqrt(variance + eps) by channel (axis 1), without the scale, which is a layer of its own.

    In training mean and variance are the batch's, else those of the blobs.

    Blobs, none of them learnt: mean (channels,) and variance (channels,), both sums that fade with
    ``moving_average_fraction``, and factor (1,), the sum of their weights.

    Reference: Ioffe and Szegedy 2015, algorithm 1.
    """

    mean: Tensor
    variance: Tensor
    factor: Tensor

    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.batch_norm_param
        shape = shapes[0]
        self.fraction, self.eps = settings.moving_average_fraction, settings.eps
        # None: the blobs in phase TEST, the batch in TRAIN
        self.use_blobs = settings.use_global_stats if settings.HasField("use_global_stats") else None
        channels = shape[1] if len(shape) > 1 else 1
        self.add_blob("mean", (channels,), learnable=False)
        self.add_blob("variance", (channels,), learnable=False)
        self.add_blob("factor", (1,), learnable=False)

    def forward(self, bottom: Tensor) -> Tensor:
        rows = bottom if bottom.ndim > 1 else bottom[:, None]
        from_blobs = not self.training if self.use_blobs is None else self.use_blobs
        top = self._by_blobs(rows) if from_blobs else self._by_batch(rows)
        return top.reshape(bottom.shape)

    def _by_blobs(self, bottom: Tensor) -> Tensor:
        weight = torch.where(self.factor == 0, 0, 1 / self.factor)
        return F.batch_norm(bottom, self.mean * weight, self.variance * weight, eps=self.eps)

    def _by_batch(self, bottom: Tensor) -> Tensor:
        # with momentum 1 torch leaves the batch's mean and unbiased variance here
        mean, variance = torch.empty_like(self.mean), torch.empty_like(self.variance)
        top = F.batch_norm(bottom, mean, variance, training=True, momentum=1.0, eps=self.eps)
        with torch.no_grad():
            self.mean.mul_(self.fraction).add_(mean)
            self.variance.mul_(self.fraction).add_(variance)
            self.factor.mul_(self.fraction).add_(1)
        return top
