"""SPP: spatial pyramid pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.caffe.layers.pooling import Pooling
from demitasse.errors import NetError


@LAYERS.register("SPP")
class SPP(Layer):
    """Pools the plane as a whole, in 2 x 2 parts, in 4 x 4 parts and so on: (n, channels * parts), coarse levels first.

    A pyramid of height 1 returns (n, channels, 1, 1).

    Reference: He, Zhang, Ren, Sun 2014, section 2.2.
    """

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.spp_param
        if len(shapes[0]) != 4:
            raise NetError(f"SPP needs four axes, found a bottom of shape {list(shapes[0])}")
        if not 0 < settings.pyramid_height <= min(shapes[0][2:]).bit_length():
            raise NetError(
                f"pyramid_height is {settings.pyramid_height}, but planes of shape {list(shapes[0][2:])} cannot be "
                "divided into 2^(pyramid_height - 1) parts along each axis"
            )
        self.levels = nn.ModuleList(
            _pooling(shapes[0], 2**level, settings.pool) for level in range(settings.pyramid_height)
        )

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        if len(self.levels) == 1:
            top: Tensor = self.levels[0](bottom)
            return top
        return torch.cat([level(bottom).flatten(1) for level in self.levels], 1)


def _pooling(shape: Shape, parts: int, method: int) -> Pooling:
    """Returns the layer that pools planes in ``parts`` x ``parts`` windows, with padding if they do not fit."""
    spec = schema.LayerParameter(type="Pooling", bottom=["plane"], top=["parts"])
    settings = spec.pooling_param
    settings.pool = method
    for axis, size in zip("hw", shape[2:], strict=True):
        kernel = -(-size // parts)
        pad = (kernel * parts - size + 1) // 2
        for name, value in (("kernel", kernel), ("stride", kernel), ("pad", pad)):
            setattr(settings, f"{name}_{axis}", value)
    pooling = Pooling(spec)
    pooling.setup(shape)
    return pooling
