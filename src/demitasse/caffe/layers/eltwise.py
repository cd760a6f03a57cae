"""Eltwise: combines several bottoms of the same shape entry by entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.errors import NetError


@LAYERS.register("Eltwise")
class Eltwise(Layer):
    """The product, the sum weighted by ``coeff``, or the maximum of all bottoms."""

    bottom_count = (2, None)

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.eltwise_param
        self.operation = settings.EltwiseOp.Name(settings.operation)
        self.coeff = list(settings.coeff)
        if self.coeff and (self.operation != "SUM" or len(self.coeff) != len(shapes)):
            raise NetError(
                f"found {len(self.coeff)} values of coeff for {len(shapes)} bottoms with operation {self.operation}; "
                "expected one for each bottom, with SUM"
            )
        for name, shape in zip(self.spec.bottom, shapes, strict=True):
            if shape != shapes[0]:
                raise NetError(
                    f"bottom {name!r} of shape {list(shape)} does not fit "
                    f"{self.spec.bottom[0]!r} of shape {list(shapes[0])}"
                )
        if all(value == 1 for value in self.coeff):
            self.coeff = []

    @override
    def forward(self, *bottoms: Tensor) -> Tensor:
        if self.operation == "SUM" and self.coeff:
            total: Tensor = bottoms[0] * self.coeff[0]
            for bottom, coeff in zip(bottoms[1:], self.coeff[1:], strict=True):
                total = torch.add(total, bottom, alpha=coeff)
            return total
        return _COMBINE[self.operation](bottoms)


def _maximum(bottoms: Sequence[Tensor]) -> Tensor:
    # torch.maximum splits the gradient of a tie; Caffe gives it to one bottom: of the first two to the second, and to
    # a later one only if it is larger than all before it
    first, second, *others = bottoms
    largest = torch.where(first > second, first, second)
    for bottom in others:
        largest = torch.where(bottom > largest, bottom, largest)
    return largest


_COMBINE: dict[str, Callable[[Sequence[Tensor]], Tensor]] = {
    "PROD": lambda bottoms: reduce(torch.mul, bottoms),
    "SUM": lambda bottoms: reduce(torch.add, bottoms),
    "MAX": _maximum,
}


@LAYERS.register("Axpy")
class Axpy(Layer):
    """a x + y, with a factor for each channel: a is (n, channels) or (n, channels, 1, 1), x and y (n, channels, h, w).

    Reference: Hu, Shen, Sun 2018 (SENet), equation 4.
    """

    bottom_count = (3, 3)

    @override
    def setup(self, *shapes: Shape) -> None:
        factor, *images = shapes
        fits = len(images[0]) == 4 and factor[:2] == images[0][:2] and all(size == 1 for size in factor[2:])
        if not fits or len(factor) < 2 or images[0] != images[1]:
            raise NetError(
                f"found bottoms of shapes {[list(shape) for shape in shapes]}; expected (n, channels), and twice "
                "(n, channels, h, w)"
            )

    @override
    def forward(self, factor: Tensor, bottom: Tensor, summand: Tensor) -> Tensor:
        return torch.addcmul(summand, factor.reshape(*factor.shape[:2], 1, 1), bottom)
