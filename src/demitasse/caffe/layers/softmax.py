"""Softmax."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape, canonical_axis


@LAYERS.register("Softmax")
class Softmax(Layer):
    """exp(x) / sum(exp(x)) along one axis."""

    in_place = True

    @override
    def setup(self, *shapes: Shape) -> None:
        self.axis = canonical_axis(self.spec.softmax_param.axis, len(shapes[0]))

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return F.softmax(bottom, self.axis)
