"""Reduction: sums over the last axes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape, canonical_axis

_REDUCE: dict[str, Callable[[Tensor], Tensor]] = {
    "SUM": lambda rows: rows.sum(-1),
    "ASUM": lambda rows: rows.abs().sum(-1),
    "SUMSQ": lambda rows: rows.square().sum(-1),
    "MEAN": lambda rows: rows.mean(-1),
}


@LAYERS.register("Reduction")
class Reduction(Layer):
    """coeff times the sum, the sum of magnitudes, the sum of squares or the mean over all axes from ``axis``."""

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.reduction_param
        self.axis = canonical_axis(settings.axis, len(shapes[0]))
        self.coeff = settings.coeff
        self.operation = settings.ReductionOp.Name(settings.operation)

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        reduced = _REDUCE[self.operation](bottom.flatten(self.axis))
        return reduced if self.coeff == 1 else reduced * self.coeff
