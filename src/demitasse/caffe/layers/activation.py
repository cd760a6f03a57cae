"""Element-wise activations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.errors import NetError


@LAYERS.register("ReLU")
class ReLU(Layer):
    """max(x, 0) + negative_slope * min(x, 0)."""

    def setup(self, *shapes: Shape) -> None:
        self.slope = self.spec.relu_param.negative_slope

    def forward(self, bottom: Tensor) -> Tensor:
        return F.leaky_relu(bottom, self.slope) if self.slope else F.relu(bottom)


@LAYERS.register("PReLU")
class PReLU(Layer):
    """max(x, 0) + weight * min(x, 0), with one weight a channel (axis 1), or one for all.

    Blobs: weight (channels,), or () with ``channel_shared``; 0.25 without a filler.

    Reference: He, Zhang, Ren, Sun 2015, equation 1.
    """

    weight: Tensor

    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.prelu_param
        if len(shapes[0]) < 2:
            raise NetError(f"PReLU needs a channel axis, found a bottom of shape {list(shapes[0])}")
        filler = settings.filler if settings.HasField("filler") else schema.FillerParameter(value=0.25)
        self.add_blob("weight", () if settings.channel_shared else shapes[0][1:2], filler)

    def forward(self, bottom: Tensor) -> Tensor:
        return F.prelu(bottom, self.weight)


@LAYERS.register("Sigmoid")
class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    def forward(self, bottom: Tensor) -> Tensor:
        return torch.sigmoid(bottom)


@LAYERS.register("TanH")
class TanH(Layer):
    """The hyperbolic tangent."""

    def forward(self, bottom: Tensor) -> Tensor:
        return torch.tanh(bottom)


@LAYERS.register("Power")
class Power(Layer):
    """(shift + scale * x)^power."""

    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.power_param
        self.power, self.scale, self.shift = settings.power, settings.scale, settings.shift

    def forward(self, bottom: Tensor) -> Tensor:
        linear = bottom * self.scale + self.shift
        return linear if self.power == 1 else torch.pow(linear, self.power)
