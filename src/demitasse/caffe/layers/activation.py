"""Activations, which act on each entry separately."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.errors import NetError


@LAYERS.register("ReLU")
class ReLU(Layer):
    """max(x, 0) + negative_slope * min(x, 0)."""

    in_place = True

    @override
    def setup(self, *shapes: Shape) -> None:
        self.slope = self.spec.relu_param.negative_slope

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return F.leaky_relu(bottom, self.slope) if self.slope else F.relu(bottom)


@LAYERS.register("ReLU6")
class ReLU6(Layer):
    """min(max(x, 0), 6) + negative_slope * min(x, 0), by ``relu6_param`` or ``relu_param``."""

    in_place = True

    @override
    def setup(self, *shapes: Shape) -> None:
        spec = self.spec
        self.slope = (spec.relu6_param if spec.HasField("relu6_param") else spec.relu_param).negative_slope
        self.min, self.max = 0.0, 6.0

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        top = bottom.clamp(self.min, self.max)
        return top + self.slope * bottom.clamp(max=0) if self.slope else top


@LAYERS.register("PReLU")
class PReLU(Layer):
    """max(x, 0) + weight * min(x, 0), with one weight per channel (axis 1), or one for all.

    Blobs: weight (channels,), or () with ``channel_shared``; 0.25 without a filler.

    Reference: He, Zhang, Ren, Sun 2015, equation 1.
    """

    has_blobs = True
    in_place = True
    weight: Tensor

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.prelu_param
        if len(shapes[0]) < 2:
            raise NetError(f"PReLU needs a channel axis (axis 1), found a bottom of shape {list(shapes[0])}")
        filler = settings.filler if settings.HasField("filler") else schema.FillerParameter(value=0.25)
        self.add_blob("weight", () if settings.channel_shared else shapes[0][1:2], filler)

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return F.prelu(bottom, self.weight)


@LAYERS.register("Sigmoid")
class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    in_place = True

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return torch.sigmoid(bottom)


@LAYERS.register("HardSigmoid")
class HardSigmoid(Layer):
    """min(max(0.2 x + 0.5, 0), 1).

    Reference: Courbariaux, Bengio, David 2015 (arXiv 1511.00363), equation 3, with the slope of Caffe's descendants.
    """

    in_place = True

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return (0.2 * bottom + 0.5).clamp(0, 1)


@LAYERS.register("TanH")
class TanH(Layer):
    """The hyperbolic tangent."""

    in_place = True

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return torch.tanh(bottom)


@LAYERS.register("ELU")
class ELU(Layer):
    """x above 0, alpha * (exp(x) - 1) below.

    Reference: Clevert, Unterthiner, Hochreiter 2016, equation 15.
    """

    in_place = True

    @override
    def setup(self, *shapes: Shape) -> None:
        self.alpha = self.spec.elu_param.alpha

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return F.elu(bottom, self.alpha)


@LAYERS.register("Swish")
class Swish(Layer):
    """x / (1 + exp(-beta * x)).

    Reference: Ramachandran, Zoph, Le 2017, section 4.
    """

    in_place = True

    @override
    def setup(self, *shapes: Shape) -> None:
        self.beta = self.spec.swish_param.beta

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return F.silu(bottom) if self.beta == 1 else bottom * torch.sigmoid(self.beta * bottom)


@LAYERS.register("BNLL")
class BNLL(Layer):
    """log(1 + exp(x)), the binomial normal log likelihood."""

    in_place = True

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return F.softplus(bottom, threshold=50)


@LAYERS.register("Clip")
class Clip(Layer):
    """x, limited to the range from ``min`` to ``max``."""

    in_place = True

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.clip_param
        if not self.spec.HasField("clip_param"):
            raise NetError("clip_param is missing; expected clip_param { min: ... max: ... }")
        if settings.min > settings.max:
            raise NetError(f"min {settings.min:g} of clip_param is above max {settings.max:g}")
        self.min, self.max = settings.min, settings.max

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return bottom.clamp(self.min, self.max)


@LAYERS.register("Threshold")
class Threshold(Layer):
    """1 for entries above ``threshold``, else 0; without gradient."""

    in_place = True

    @override
    def setup(self, *shapes: Shape) -> None:
        self.threshold = self.spec.threshold_param.threshold

    @torch.no_grad()
    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return torch.gt(bottom, self.threshold).to(bottom.dtype)
