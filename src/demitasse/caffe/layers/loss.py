"""Losses."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from demitasse.caffe.layers.base import LAYERS, Layer, Shape, canonical_axis
from demitasse.errors import DataError, NetError

_NOTHING_IGNORED = torch.iinfo(torch.int64).min


class LabelledLoss(Layer):
    """A loss whose labels may be ignored, and what its sum is divided by."""

    bottom_count = (2, 2)
    is_loss = True
    without_gradient: tuple[int, ...] = (1,)
    default_normalization = "VALID"

    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.loss_param
        self.ignored = settings.ignore_label if settings.HasField("ignore_label") else None
        if settings.HasField("normalization") or not settings.HasField("normalize"):
            named = settings.HasField("normalization")
            mode = settings.NormalizationMode.Name(settings.normalization)
            self.normalization = mode if named else self.default_normalization
        else:
            self.normalization = "VALID" if settings.normalize else "BATCH_SIZE"

    def normalize(self, total: Tensor, label: Tensor, batch: int) -> Tensor:
        """Divides the sum of the losses, as the mode says, by 1, by ``batch`` or by the number of labels."""
        if self.normalization == "NONE":
            return total
        if self.normalization == "BATCH_SIZE":
            return total / max(batch, 1)
        if self.normalization == "VALID" and self.ignored is not None:
            return torch.div(total, (label != self.ignored).sum().clamp(min=1))
        return total / max(label.numel(), 1)


@LAYERS.register("SoftmaxWithLoss")
class SoftmaxWithLoss(LabelledLoss):
    """-log(softmax(x)[label]), summed and normalized; the second top is the softmax, without gradient.

    A vanishing probability gives its true logarithm; Caffe stops at -log(1.2e-38).
    """

    top_count = (1, 2)

    def setup(self, *shapes: Shape) -> None:
        super().setup(*shapes)
        scores, labels = shapes
        self.axis = canonical_axis(self.spec.softmax_param.axis, len(scores))
        wanted = math.prod(scores) // max(scores[self.axis], 1)
        if math.prod(labels) != wanted:
            raise NetError(f"scores of shape {list(scores)} need {wanted} labels, found labels of shape {list(labels)}")

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        by_class = scores.movedim(self.axis, 1) if self.axis != 1 else scores
        label = labels.long().reshape(by_class.shape[:1] + by_class.shape[2:])
        ignored = _NOTHING_IGNORED if self.ignored is None else self.ignored
        try:
            total = F.cross_entropy(by_class, label, ignore_index=ignored, reduction="sum")
        except IndexError as error:
            raise DataError(f"layer {self.spec.name!r}: a label is none of the classes: {error}") from None
        loss = self.normalize(total, label, math.prod(scores.shape[: self.axis]))
        return (loss, F.softmax(scores.detach(), self.axis)) if len(self.spec.top) == 2 else loss


@LAYERS.register("EuclideanLoss")
class EuclideanLoss(Layer):
    """sum((a - b)^2) / (2 n) over a batch of n."""

    bottom_count = (2, 2)
    is_loss = True

    def setup(self, *shapes: Shape) -> None:
        left, right = shapes
        if left[:1] != right[:1] or math.prod(left) != math.prod(right):
            raise NetError(f"bottoms of shape {list(left)} and {list(right)} do not fit each other")

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return F.mse_loss(left, right.reshape(left.shape), reduction="sum") / (2 * left.shape[0])


@LAYERS.register("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(LabelledLoss):
    """-t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x)), summed and normalized; t is in 0..1."""

    default_normalization = "BATCH_SIZE"

    def setup(self, *shapes: Shape) -> None:
        super().setup(*shapes)
        if math.prod(shapes[0]) != math.prod(shapes[1]):
            raise NetError(f"scores of shape {list(shapes[0])} and targets of shape {list(shapes[1])} do not fit")

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        targets = targets.detach().reshape(scores.shape)
        counted = None
        label = targets
        if self.ignored is not None:
            # a target between two labels counts as the one towards zero
            label = targets.trunc()
            counted = (label != self.ignored).to(scores.dtype)
        total = F.binary_cross_entropy_with_logits(scores, targets, counted, reduction="sum")
        return self.normalize(total, label, scores.shape[0])
