"""Dropout."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.errors import NetError


@LAYERS.register("Dropout")
class Dropout(Layer):
    """In training, sets entries to 0 with probability ``dropout_ratio`` p and scales the rest by 1 / (1 - p).

    With ``scale_train: false`` (Faster R-CNN), training does not scale, and testing scales all entries by 1 - p. With
    ``sample_weights_test`` (Bayesian SegNet), testing drops entries like training. Uses torch's global generator.
    """

    in_place = True

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.dropout_param
        self.ratio = settings.dropout_ratio
        self.samples = settings.sample_weights_test
        self.factor = 1.0 if settings.scale_train else 1 - self.ratio
        if not 0 <= self.ratio < 1:
            raise NetError(f"dropout_ratio is {self.ratio:g}; expected at least 0 and less than 1")

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        top = F.dropout(bottom, self.ratio, self.training or self.samples)
        return top if self.factor == 1 else top * self.factor

    def changes_nothing(self) -> bool:
        """Returns whether the layer currently returns its bottom unchanged."""
        return not self.training and not self.samples and self.factor == 1
