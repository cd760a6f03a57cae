"""Online hard example mining of R-FCN: the regions with the largest losses are trained on."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.caffe.layers.loss import LabelledLoss, SoftmaxWithLoss
from demitasse.errors import DataError, NetError

_REGION = 5  # item, xmin, ymin, xmax, ymax


@LAYERS.register("SoftmaxWithLossOHEM")
class SoftmaxWithLossOHEM(SoftmaxWithLoss):
    """SoftmaxWithLoss, whose third top has the loss of each label."""


@LAYERS.register("SmoothL1LossOHEM")
class SmoothL1LossOHEM(LabelledLoss):
    """sum(f(w (a - b))), normalized; the second top has the sum over the channels, (n, 1, h, w), without gradient.

    f(x) = x^2 / 2 for |x| < 1, else |x| - 1/2; the weights w are the third bottom. The divisor is n h w, or by
    ``loss_param`` n (BATCH_SIZE), ``pre_fixed_normalizer`` or 1.

    Reference: Dai, Li, He, Sun 2016 (R-FCN), section 2.3; Shrivastava, Gupta, Girshick 2016.
    """

    bottom_count = (2, 3)
    top_count = (1, 2)

    @override
    def setup(self, *shapes: Shape) -> None:
        super().setup(*shapes)
        self.without_gradient = (2,) if len(shapes) > 2 else ()
        if any(shape != shapes[0] for shape in shapes) or not 2 <= len(shapes[0]) <= 4:
            raise NetError(f"found bottoms of shapes {[list(shape) for shape in shapes]}; expected (n, c, h, w) each")

    @override
    def forward(self, left: Tensor, right: Tensor, weights: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        distance = left - right if weights is None else (left - right) * weights.detach()
        losses = F.smooth_l1_loss(distance, torch.zeros_like(distance), reduction="none")
        each = losses.detach().sum(1, keepdim=True)
        loss = self.normalize(losses.sum(), each, left.shape[0])
        return (loss, each.reshape(each.shape + (1,) * (4 - each.ndim))) if len(self.spec.top) == 2 else loss


@LAYERS.register("BoxAnnotatorOHEM")
class BoxAnnotatorOHEM(Layer):
    """Keeps the labels and the weights of the ``roi_per_img`` regions of each image with the largest losses.

    Bottoms: regions (r, 5, h, w), with their image first; losses (r, 1, h, w); labels (r, 1, h, w); weights
    (r, c, h, w). Tops: the labels, ``ignore_label`` for other regions; and the weights, 0 for them. Of equal losses,
    the first count.

    Reference: Dai, Li, He, Sun 2016 (R-FCN), section 2.3.
    """

    bottom_count = (4, 4)
    top_count = (2, 2)
    without_gradient = (0, 1, 2, 3)

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.box_annotator_ohem_param
        self.most, self.ignored = settings.roi_per_img, settings.ignore_label
        if not self.most:
            raise NetError("roi_per_img is missing; expected a positive number")
        regions, *others = (shape + (1,) * (4 - len(shape)) for shape in shapes)
        count, plane = regions[0], regions[2:]
        wanted = [(count, 1, *plane), (count, 1, *plane), (count, others[2][1], *plane)]
        if regions[1] != _REGION or len(regions) != 4 or others != wanted:
            raise NetError(
                f"found bottoms of shapes {[list(shape) for shape in shapes]}; expected regions (r, 5, h, w), losses "
                "and labels (r, 1, h, w), weights (r, c, h, w)"
            )
        self.shapes = wanted[1:]

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return list(self.shapes)

    @torch.no_grad()
    @override
    def forward(self, regions: Tensor, losses: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        image = regions.reshape(regions.shape[0], _REGION, math.prod(self.shapes[0][2:]))[:, 0].flatten()
        if not bool((image >= 0).all()):
            raise DataError(f"layer {self.spec.name!r}: the image of a region is {image.min():g}; expected 0 or more")
        order = losses.flatten().argsort(descending=True, stable=True)
        chosen = torch.zeros_like(image, dtype=torch.bool)
        for number in torch.unique(image):
            chosen[order[image[order] == number][: self.most]] = True
        mask = chosen.reshape(self.shapes[0])
        found = torch.where(mask, labels.reshape(self.shapes[0]), float(self.ignored))
        return found, torch.where(mask, weights.reshape(self.shapes[1]), 0.0)
