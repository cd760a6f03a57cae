"""BN: the batch normalization, with its scale and shift, of SegNet, ENet, TSN, PSPNet and ICNet."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.errors import NetError

_TSN = ("slope_filler", "bias_filler", "momentum", "eps", "frozen")
_PSPNET = ("var_eps", "moving_average", "decay", "axis")
_SEGNET_EPS = 1e-9


@LAYERS.register("BN")
class BN(Layer):
    """weight * (x - mean) / sqrt(variance + eps) + bias for each channel; the variance is the mean square.

    Three forks have a type of this name; the fields of ``bn_param`` decide which is meant:

    - SegNet and ENet (``bn_mode``, or only ``scale_filler`` and ``shift_filler``): ``LEARN`` normalizes by the batch,
      also in testing, and has its mean and variance as further tops; ``INFERENCE`` computes weight * x + bias.
      Blobs: weight and bias, (1, channels, 1, 1).
    - TSN, PSPNet and ICNet (``slope_filler``, ``bias_filler``, ``momentum``, ``eps`` or ``frozen``): by the batch in
      training, and by the blobs in testing, or always with ``frozen``, which also stops learning.
    - older PSPNets and CTPN (``var_eps``, ``moving_average``, ``decay``, ``axis``): by the batch, but with
      ``moving_average`` by the blobs in testing.

    The latter two have further blobs, not learnt: mean and variance, averages over the batches of training.
    Without any field, a layer with more than two ``param`` is TSN's, others are SegNet's.

    Reference: Ioffe and Szegedy 2015, algorithms 1 and 2.
    """

    has_blobs = True
    in_place = True
    top_count = (1, 3)
    weight: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor

    @override
    def setup(self, *shapes: Shape) -> None:
        settings, shape = self.spec.bn_param, shapes[0]
        self.dialect = _dialect(self.spec)
        self.axis = settings.axis
        if not 0 < self.axis < max(len(shape), 2) or len(shape) < 2:
            raise NetError(
                f"axis is {self.axis}; expected an axis of the bottom of shape {list(shape)}, but not the first"
            )
        self.trailing = (1,) * (len(shape) - 1 - self.axis)
        self.is_affine = self.dialect == "SegNet" and settings.bn_mode == settings.INFERENCE
        if len(self.spec.top) > 1 and (self.dialect != "SegNet" or self.is_affine):
            raise NetError(
                f"found {len(self.spec.top)} tops; expected one: only SegNet's LEARN has a mean and a variance"
            )
        if self.dialect == "SegNet":
            self.eps = _SEGNET_EPS
        else:
            self.eps = settings.eps if self.dialect == "TSN" else settings.var_eps
        self.share = 1 - settings.momentum if self.dialect == "TSN" else settings.decay
        self._check_count(shape)
        self._add_blobs(shape[self.axis])

    def _check_count(self, shape: Shape) -> None:
        if self.spec.phase == schema.TRAIN and not self.is_affine and math.prod(shape) == shape[self.axis]:
            if self.dialect == "TSN" and self.spec.bn_param.frozen:
                return
            raise NetError(f"BN needs more than one value per channel for training, found a bottom of {list(shape)}")

    def _add_blobs(self, channels: int) -> None:
        settings, tsn = self.spec.bn_param, self.dialect == "TSN"
        shape = tuple(channels if axis == self.axis else 1 for axis in range(4))
        self.add_blob("weight", shape, settings.slope_filler if tsn else settings.scale_filler)
        self.add_blob("bias", shape, settings.bias_filler if tsn else settings.shift_filler)
        if self.dialect == "SegNet":
            return
        self.add_blob("mean", shape, learnable=False)
        frozen = tsn and settings.frozen
        self.add_blob("variance", shape, schema.FillerParameter(value=float(frozen)), learnable=False)
        params = self.spec.param
        params.extend(schema.ParamSpec() for _ in range(4 - len(params)))
        for param in params if frozen else params[2:]:
            param.lr_mult = param.decay_mult = 0

    def by_blobs(self) -> bool:
        """Returns whether mean and variance currently come from the blobs."""
        if self.dialect == "TSN":
            return self.spec.bn_param.frozen or not self.training
        return self.dialect == "PSPNet" and self.spec.bn_param.moving_average and not self.training

    def _row(self, blob: Tensor) -> Tensor:
        return blob.reshape(-1, *self.trailing)

    @override
    def forward(self, bottom: Tensor) -> Tensor | tuple[Tensor, ...]:
        weight, bias = self._row(self.weight), self._row(self.bias)
        if self.is_affine:
            return bottom * weight + bias
        if self.by_blobs():
            mean, variance = self._row(self.mean), self._row(self.variance)
        else:
            axes = tuple(axis for axis in range(bottom.ndim) if axis != self.axis)
            mean = bottom.mean(axes, keepdim=True)
            variance = (bottom - mean).square().mean(axes, keepdim=True)
            self._remember(mean, variance)
        top = (bottom - mean) / (variance + self.eps).sqrt() * weight + bias
        if len(self.spec.top) == 1:
            return top
        statistics = (mean.reshape(1, -1, 1, 1).detach(), variance.reshape(1, -1, 1, 1).detach())
        return top, *statistics[: len(self.spec.top) - 1]

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.training and self.dialect != "SegNet":
            self.mean.lerp_(mean.reshape(self.mean.shape), self.share)
            self.variance.lerp_(variance.reshape(self.variance.shape), self.share)


def _dialect(spec: schema.LayerParameter) -> str:
    settings = spec.bn_param
    if any(map(settings.HasField, _PSPNET)):
        return "PSPNet"
    if any(map(settings.HasField, _TSN)):
        return "TSN"
    if any(map(settings.HasField, ("bn_mode", "scale_filler", "shift_filler"))):
        return "SegNet"
    return "TSN" if len(spec.param) > 2 else "SegNet"
