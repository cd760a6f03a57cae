"""Recurrent layers without a memory of the last run."""

from __future__ import annotations

from copy import copy

from torch import Tensor, nn
from typing_extensions import override

from demitasse.caffe.layers import Layer
from demitasse.caffe.layers.lstm import Lstm
from demitasse.caffe.layers.recurrent import Recurrent


def from_zero(layer: Layer) -> nn.Module:
    """Returns what computes a layer without a memory of the last run; a layer without memory is its own."""
    if isinstance(layer, Lstm):
        found = copy(layer)
        found.carries = False
        return found
    return FromZero(layer) if isinstance(layer, Recurrent) else layer


class FromZero(nn.Module):
    """A recurrent layer whose every run begins with a state of zeros, unless the state is among its bottoms.

    Args:
        layer: the layer; it is not changed.
    """

    def __init__(self, layer: Recurrent) -> None:
        super().__init__()
        self.layer = copy(layer)
        self.hides = not layer.exposes
        self.layer.exposes = True

    @override
    def forward(self, bottom: Tensor, going_on: Tensor, *rest: Tensor) -> Tensor | tuple[Tensor, ...]:
        if not self.hides:
            return self.layer(bottom, going_on, *rest)  # type: ignore[no-any-return]
        zeros = bottom.new_zeros(1, bottom.shape[1], self.layer.units)
        top: Tensor = self.layer(bottom, going_on, *rest, *[zeros] * len(self.layer.parts))[0]
        return top
