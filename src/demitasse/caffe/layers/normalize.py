"""Normalize: SSD's normalization of each position, or of each item, by its L2 norm."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.errors import NetError


@LAYERS.register("Normalize")
class Normalize(Layer):
    """x / sqrt(sum of x^2 + eps) times a learnt factor.

    The sum goes over the channels of each position, or with ``across_spatial`` over the whole item.

    Blobs: weight (channels,), or () with ``channel_shared``; 1 without a filler.

    Reference: Liu, Rabinovich, Berg 2016, equations 1 and 3; Liu et al. 2016 (SSD), section 3.1.
    """

    has_blobs = True
    in_place = True
    weight: Tensor

    @override
    def setup(self, *shapes: Shape) -> None:
        settings, shape = self.spec.norm_param, shapes[0]
        if len(shape) < 2:
            raise NetError(f"Normalize needs a channel axis (axis 1), found a bottom of shape {list(shape)}")
        self.across, self.eps = settings.across_spatial, settings.eps
        filler = settings.scale_filler if settings.HasField("scale_filler") else schema.FillerParameter(value=1)
        self.add_blob("weight", () if settings.channel_shared else (shape[1],), filler)

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        axes = tuple(range(1, bottom.ndim)) if self.across else (1,)
        norm = bottom.square().sum(axes, keepdim=True).add(self.eps).sqrt()
        return bottom / norm * self.weight.reshape(-1, *[1] * (bottom.ndim - 2))
