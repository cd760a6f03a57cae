"""Dropout."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.errors import NetError


@LAYERS.register("Dropout")
class Dropout(Layer):
    """In training zeroes entries with probability ``dropout_ratio`` p and scales the rest by 1 / (1 - p).

    Draws from torch's global generator.
    """

    in_place = True

    def setup(self, *shapes: Shape) -> None:
        self.ratio = self.spec.dropout_param.dropout_ratio
        if not 0 <= self.ratio < 1:
            raise NetError(f"dropout_ratio must be at least 0 and less than 1, found {self.ratio:g}")

    def forward(self, bottom: Tensor) -> Tensor:
        return F.dropout(bottom, self.ratio, self.training)
