"""InnerProduct: a fully connected layer."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape, canonical_axis
from demitasse.errors import NetError


@LAYERS.register("InnerProduct")
class InnerProduct(Layer):
    """``top = bottom @ weight.T + bias``, with the axes of the bottom from ``axis`` on flattened to one.

    Blobs: weight (num_output, inputs), or (inputs, num_output) with ``transpose``; bias (num_output,) unless
    ``bias_term`` is false. A subclass overrides :meth:`effective` to compute with values other than the stored ones.
    """

    has_blobs = True
    weight: Tensor
    bias: Tensor | None

    @property
    def settings(self) -> schema.InnerProductParameter:
        """The InnerProductParameter."""
        return self.spec.inner_product_param

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.settings
        if not settings.num_output:
            raise NetError(f"num_output is {settings.num_output}; expected a positive number")
        self.axis = canonical_axis(settings.axis, len(shapes[0]))
        self.transpose = settings.transpose
        shape = (settings.num_output, math.prod(shapes[0][self.axis :]))
        self.add_blob("weight", shape[::-1] if self.transpose else shape, settings.weight_filler)
        if settings.bias_term:
            self.add_blob("bias", (settings.num_output,), settings.bias_filler)
        else:
            self.bias = None

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return self.multiply(bottom, *self.effective())

    def effective(self) -> tuple[Tensor, Tensor | None]:
        """Returns the weight and the bias that :meth:`forward` computes with."""
        return self.weight, self.bias

    def multiply(self, bottom: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Returns the product of ``bottom`` (batch axes..., inputs...) with a weight and bias shaped like the blobs."""
        return F.linear(bottom.flatten(self.axis), weight.t() if self.transpose else weight, bias)
