"""Elementary functions of each entry: powers, exponentials, logarithms, absolute values."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.errors import NetError


@LAYERS.register("Power")
class Power(Layer):
    """(shift + scale * x)^power."""

    in_place = True

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.power_param
        self.power, self.scale, self.shift = settings.power, settings.scale, settings.shift

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        linear = bottom * self.scale + self.shift
        return linear if self.power == 1 else torch.pow(linear, self.power)


@LAYERS.register("Exp")
class Exp(Layer):
    """base^(shift + scale * x); a base of -1 stands for e."""

    in_place = True

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.exp_param
        factor = _log_of_base(settings)
        self.scale, self.shift = settings.scale * factor, settings.shift * factor

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return torch.exp(bottom * self.scale + self.shift)


@LAYERS.register("Log")
class Log(Layer):
    """The logarithm of shift + scale * x to a base; a base of -1 stands for e."""

    in_place = True

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.log_param
        factor = _log_of_base(settings)
        if factor == 0:
            raise NetError("base is 1, which has no logarithm; expected another positive base, or -1 for e")
        self.scale, self.shift, self.factor = settings.scale, settings.shift, 1 / factor

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return torch.log(bottom * self.scale + self.shift) * self.factor


def _log_of_base(settings: schema.ExpParameter | schema.LogParameter) -> float:
    if settings.base == -1:
        return 1.0
    if not 0 < settings.base < math.inf:
        raise NetError(f"base is {settings.base:g}; expected a positive number, or -1 for e")
    return math.log(settings.base)


@LAYERS.register("AbsVal")
class AbsVal(Layer):
    """The absolute value |x|."""

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return bottom.abs()
