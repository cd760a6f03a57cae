"""Dropout of entries, and of whole channels."""

from __future__ import annotations

import re

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


@LAYERS.register("SpatialDropout")
class SpatialDropout(Layer):
    """In training, sets whole channels to 0 with probability ``dropout_ratio`` p and scales the rest by 1 / (1 - p).

    Also ENet's layer in Python, ``spatial_dropout``, whose ``param_str`` has p and the phase.

    Reference: Tompson, Goroshin, Jain, LeCun, Bregler 2015 (arXiv 1411.4280), section 3.2.
    """

    in_place = True

    @override
    def setup(self, *shapes: Shape) -> None:
        self.ratio, self.is_used = self.spec.spatial_dropout_param.dropout_ratio, True
        if self.spec.type == "Python":
            given = self.spec.python_param.param_str
            ratio, phase = _RATIO.search(given), _PHASE.search(given)
            if ratio is None or phase is None:
                raise NetError(f"param_str is {given!r}; expected \"{{'phase': 'TRAIN', 'p': '0.1'}}\"")
            self.ratio, self.is_used = float(ratio[1]), phase[1] == "TRAIN"
        if not 0 <= self.ratio < 1:
            raise NetError(f"dropout_ratio is {self.ratio:g}; expected at least 0 and less than 1")
        if len(shapes[0]) < 2:
            raise NetError(f"found a bottom of shape {list(shapes[0])}; expected (n, channels, ...)")

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        if not (self.training and self.is_used):
            return bottom
        kept = F.dropout(bottom.new_ones(*bottom.shape[:2], *[1] * (bottom.ndim - 2)), self.ratio)
        return bottom * kept


_RATIO = re.compile(r"""['"]?\bp['"]?\s*:\s*['"]?(\d*\.?\d+)""")
_PHASE = re.compile(r"""['"]?phase['"]?\s*:\s*['"]?(TRAIN|TEST)""")
