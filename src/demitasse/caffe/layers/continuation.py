"""ContinuationIndicator: where sequences begin."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.caffe.sizes import check_size
from demitasse.errors import NetError


@LAYERS.register("ContinuationIndicator")
class ContinuationIndicator(Layer):
    """What tells a recurrent layer where sequences begin, (time_step, batch_size): 0 in the first step, else 1."""

    bottom_count = (0, 0)
    indicator: Tensor

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.continuation_indicator_param
        shape = settings.time_step, settings.batch_size
        if not all(shape):
            raise NetError(f"time_step is {shape[0]} and batch_size {shape[1]}; expected positive numbers")
        check_size(shape, "the top")
        found = torch.ones(shape)
        found[0] = 0
        self.register_buffer("indicator", found, persistent=False)

    @override
    def forward(self) -> Tensor:
        return self.indicator.clone()
