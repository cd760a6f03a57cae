"""Layers that select items by index: Embed, BatchReindex, Filter."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.caffe.layers.numeric import indices
from demitasse.errors import NetError


@LAYERS.register("Embed")
class Embed(Layer):
    """Replaces each index in the bottom by that row of the weight, plus bias.

    Blobs: weight (input_dim, num_output), bias (num_output,) unless ``bias_term`` is false.
    """

    has_blobs = True
    without_gradient = (0,)
    weight: Tensor
    bias: Tensor | None

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.embed_param
        if not (settings.num_output and settings.input_dim):
            raise NetError(
                f"num_output is {settings.num_output} and input_dim {settings.input_dim}; "
                "expected positive numbers for both"
            )
        self.add_blob("weight", (settings.input_dim, settings.num_output), settings.weight_filler)
        if settings.bias_term:
            self.add_blob("bias", (settings.num_output,), settings.bias_filler)
        else:
            self.bias = None

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        rows = F.embedding(indices(bottom, self.weight.shape[0], f"layer {self.spec.name!r}: index"), self.weight)
        return rows if self.bias is None else rows + self.bias


@LAYERS.register("BatchReindex")
class BatchReindex(Layer):
    """Selects the items of the first bottom by the indices in the second, in that order, with repeats."""

    bottom_count = (2, 2)
    without_gradient = (1,)

    @override
    def setup(self, *shapes: Shape) -> None:
        if not shapes[0] or len(shapes[1]) != 1:
            raise NetError(
                f"BatchReindex takes items and one axis of indices, found bottoms of shape "
                f"{list(shapes[0])} and {list(shapes[1])}"
            )

    @override
    def forward(self, bottom: Tensor, numbers: Tensor) -> Tensor:
        return bottom.index_select(0, indices(numbers, bottom.shape[0], f"layer {self.spec.name!r}: item"))


@LAYERS.register("Filter")
class Filter(Layer):
    """Selects the items for which the last bottom, the selector, is not 0; one top for each other bottom.

    The number of items differs from batch to batch, and may be 0. The net is built for all items.
    """

    bottom_count = (2, None)
    top_count = (1, None)

    @override
    def setup(self, *shapes: Shape) -> None:
        *taken, selector = shapes
        self.without_gradient = (len(taken),)
        if len(self.spec.top) != len(taken):
            raise NetError(
                f"Filter makes one top for each bottom except the selector, found {len(self.spec.top)} tops "
                f"for {len(shapes)} bottoms"
            )
        if not selector or any(size != 1 for size in selector[1:]):
            raise NetError(f"the selector has shape {list(selector)}; expected one number for each item")
        for name, shape in zip(self.spec.bottom, taken, strict=False):
            if shape[:1] != selector[:1]:
                raise NetError(
                    f"bottom {name!r} of shape {list(shape)} does not fit the selector of shape {list(selector)}"
                )

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return list(shapes[:-1])

    @override
    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        *taken, selector = bottoms
        kept = selector.detach().flatten().nonzero()[:, 0]
        return tuple(bottom.index_select(0, kept) for bottom in taken)
