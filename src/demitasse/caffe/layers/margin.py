"""Losses with a margin: HingeLoss and ContrastiveLoss."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.caffe.layers.likelihood import require_a_label_an_item
from demitasse.caffe.layers.numeric import indices, root
from demitasse.errors import NetError

# Caffe adds this to the distance in the gradient
_DISTANCE_EPS = 1e-4


@LAYERS.register("HingeLoss")
class HingeLoss(Layer):
    """max(0, 1 - t x) for each class, squared with ``norm: L2``; t is 1 for the label, else -1.

    The loss is the sum divided by the batch size.
    """

    bottom_count = (2, 2)
    is_loss = True
    without_gradient = (1,)

    @override
    def setup(self, *shapes: Shape) -> None:
        require_a_label_an_item(*shapes)
        settings = self.spec.hinge_loss_param
        self.squares = settings.norm == settings.L2

    @override
    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        rows = scores.flatten(1)
        label = indices(labels.flatten(), rows.shape[1], f"layer {self.spec.name!r}: label")
        target = torch.full_like(rows, -1).scatter(1, label[:, None], 1)
        short = (1 - target * rows).relu()
        return (short.square() if self.squares else short).sum() / rows.shape[0]


@LAYERS.register("ContrastiveLoss")
class ContrastiveLoss(Layer):
    """For pairs (a, b) at distance d: d^2 if the label is 1, max(margin - d, 0)^2 if it is 0.

    The loss is the sum divided by twice the batch size. ``legacy_version`` uses max(margin - d^2, 0) instead.

    Reference: Hadsell, Chopra, LeCun 2006, equation 4.
    """

    bottom_count = (3, 3)
    is_loss = True

    @override
    def setup(self, *shapes: Shape) -> None:
        left, right, labels = shapes
        if left != right or len(left) < 2 or math.prod(left[2:]) != 1:
            raise NetError(
                f"the pairs have shapes {list(left)} and {list(right)}; expected the same shape (n, channels)"
            )
        require_a_label_an_item(left, labels)
        settings = self.spec.contrastive_loss_param
        self.margin, self.legacy = settings.margin, settings.legacy_version

    @override
    def forward(self, left: Tensor, right: Tensor, labels: Tensor) -> Tensor:
        square = (left - right).flatten(1).square().sum(1)
        if self.legacy:
            apart = (self.margin - square).relu()
        else:
            apart = (self.margin - root(square, _DISTANCE_EPS)).relu().square()
        alike = labels.detach().flatten().long() != 0
        return torch.where(alike, square, apart).sum() / (2 * left.shape[0])
