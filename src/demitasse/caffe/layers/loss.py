"""Losses by class labels and by distance."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape, canonical_axis
from demitasse.errors import DataError, NetError

_NOTHING_IGNORED = torch.iinfo(torch.int64).min


class LabelledLoss(Layer):
    """Base of losses with ``loss_param``: a label to ignore, and the normalization of the sum."""

    bottom_count = (2, 2)
    is_loss = True
    without_gradient: tuple[int, ...] = (1,)
    default_normalization = "VALID"

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.loss_param
        self.normalizer = settings.pre_fixed_normalizer
        self.ignored = settings.ignore_label if settings.HasField("ignore_label") else None
        if settings.HasField("normalization") or not settings.HasField("normalize"):
            named = settings.HasField("normalization")
            mode = settings.NormalizationMode.Name(settings.normalization)
            self.normalization = mode if named else self.default_normalization
        else:
            self.normalization = "VALID" if settings.normalize else "BATCH_SIZE"
        if self.normalization == "PRE_FIXED" and not self.normalizer > 0:
            raise NetError(f"pre_fixed_normalizer is {self.normalizer:g}; expected a number above 0")

    def normalize(self, total: Tensor, label: Tensor, batch: int) -> Tensor:
        """Divides the sum of the losses, by the normalization mode: by 1, a fixed number, ``batch``, or the labels."""
        if self.normalization == "NONE":
            return total
        if self.normalization == "PRE_FIXED":
            return torch.div(total, self.normalizer)
        if self.normalization == "BATCH_SIZE":
            return total / max(batch, 1)
        if self.normalization == "VALID" and self.ignored is not None:
            return torch.div(total, (label != self.ignored).sum().clamp(min=1))
        return total / max(label.numel(), 1)


@LAYERS.register("SoftmaxWithLoss")
class SoftmaxWithLoss(LabelledLoss):
    """-log(softmax(x)[label]), summed and normalized; the second top is the softmax, without gradient.

    The third top, of R-FCN, has the loss of each label, without gradient; it has four axes, if the labels have fewer.

    Small probabilities give their true logarithm; Caffe limits it to log(1.2e-38). With ``weight_by_label_freqs``
    (SegNet) each logarithm is multiplied by the ``class_weighting`` of its label or, without ``class_weighting``,
    divided by the number of such labels in the batch; the normalization is the same.
    """

    top_count = (1, 3)
    class_weights: Tensor

    @override
    def setup(self, *shapes: Shape) -> None:
        super().setup(*shapes)
        scores, labels = shapes
        self.axis = canonical_axis(self.spec.softmax_param.axis, len(scores))
        self.by_frequency = self.spec.loss_param.weight_by_label_freqs
        weights, classes = list(self.spec.loss_param.class_weighting), scores[self.axis]
        if self.by_frequency and len(weights) not in (0, classes):
            raise NetError(f"class_weighting has {len(weights)} values for {classes} classes; expected one for each")
        self.register_buffer("class_weights", torch.tensor(weights), persistent=False)
        wanted = math.prod(scores) // max(scores[self.axis], 1)
        if math.prod(labels) != wanted:
            raise NetError(f"scores of shape {list(scores)} need {wanted} labels, found labels of shape {list(labels)}")

    @override
    def forward(self, scores: Tensor, labels: Tensor) -> Tensor | tuple[Tensor, ...]:
        by_class = scores.movedim(self.axis, 1) if self.axis != 1 else scores
        label = labels.long().reshape(by_class.shape[:1] + by_class.shape[2:])
        ignored = _NOTHING_IGNORED if self.ignored is None else self.ignored
        try:
            weights = self._weights(label, by_class.shape[1])
            losses = F.cross_entropy(by_class, label, weights, ignore_index=ignored, reduction=self._reduction)
        except IndexError as error:
            raise DataError(f"layer {self.spec.name!r}: a label is not one of the classes: {error}") from error
        loss = self.normalize(losses.sum(), label, math.prod(scores.shape[: self.axis]))
        if len(self.spec.top) < 2:
            return loss
        probabilities = F.softmax(scores.detach(), self.axis)
        if len(self.spec.top) == 2:
            return loss, probabilities
        return loss, probabilities, losses.detach().reshape(labels.shape + (1,) * (4 - labels.ndim))

    @property
    def _reduction(self) -> str:
        """How the losses of the labels are returned: their sum takes less memory."""
        return "none" if len(self.spec.top) == 3 else "sum"

    def _weights(self, label: Tensor, classes: int) -> Tensor | None:
        """Returns the weight of each class, (classes,); None if all are 1."""
        if not self.by_frequency or len(self.class_weights):
            return self.class_weights if self.by_frequency else None
        counts = torch.stack([(label == number).sum() for number in range(classes)])
        return 1 / counts.clamp(min=1).to(torch.float32)


@LAYERS.register("EuclideanLoss")
class EuclideanLoss(Layer):
    """sum((a - b)^2) / (2 n) over a batch of n items."""

    bottom_count = (2, 2)
    is_loss = True

    @override
    def setup(self, *shapes: Shape) -> None:
        left, right = shapes
        if left[:1] != right[:1] or math.prod(left) != math.prod(right):
            raise NetError(f"bottoms of shape {list(left)} and {list(right)} do not fit each other")

    @override
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return F.mse_loss(left, right.reshape(left.shape), reduction="sum") / (2 * left.shape[0])


@LAYERS.register("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(LabelledLoss):
    """-t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x)), summed and normalized; t is in 0..1."""

    default_normalization = "BATCH_SIZE"

    @override
    def setup(self, *shapes: Shape) -> None:
        super().setup(*shapes)
        if math.prod(shapes[0]) != math.prod(shapes[1]):
            raise NetError(f"scores of shape {list(shapes[0])} and targets of shape {list(shapes[1])} do not fit")

    @override
    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        targets = targets.detach().reshape(scores.shape)
        counted = None
        label = targets
        if self.ignored is not None:
            # a target between two labels counts as the label nearer to zero
            label = targets.trunc()
            counted = (label != self.ignored).to(scores.dtype)
        total = F.binary_cross_entropy_with_logits(scores, targets, counted, reduction="sum")
        return self.normalize(total, label, scores.shape[0])


@LAYERS.register("SmoothL1Loss")
class SmoothL1Loss(Layer):
    """sum(w2 f(w1 (a - b))) / n over a batch of n items; f is quadratic near 0 and linear beyond.

    f(x) = (sigma x)^2 / 2 for |x| < 1 / sigma^2, else |x| - 1 / (2 sigma^2). The weights w1 and w2, of the same shape,
    are the third and the fourth bottom; those that are not given are 1. Axes of size 1 at the end may be left out.

    Reference: Girshick 2015 (Fast R-CNN), equation 3; Ren, He, Girshick, Sun 2015, section 3.1.2.
    """

    bottom_count = (2, 4)
    is_loss = True

    @override
    def setup(self, *shapes: Shape) -> None:
        self.without_gradient = tuple(range(2, len(shapes)))
        self.square = self.spec.smooth_l1_loss_param.sigma**2
        if not 0 < self.square < math.inf:
            raise NetError(f"sigma is {self.spec.smooth_l1_loss_param.sigma:g}; expected a number other than 0")
        if any(_trimmed(shape) != _trimmed(shapes[0]) for shape in shapes):
            raise NetError(f"found bottoms of shapes {[list(shape) for shape in shapes]}; expected one shape")

    @override
    def forward(self, left: Tensor, right: Tensor, *weights: Tensor) -> Tensor:
        distance = left - right.reshape(left.shape)
        inner, outer = (*(weight.detach().reshape(left.shape) for weight in weights), None, None)[:2]
        if inner is not None:
            distance = distance * inner
        size = distance.abs()
        parts = torch.where(size < 1 / self.square, self.square / 2 * distance.square(), size - 0.5 / self.square)
        if outer is not None:
            parts = parts * outer
        return parts.sum() / max(left.shape[0], 1)


def _trimmed(shape: Shape) -> Shape:
    """Returns a shape without the axes of size 1 at its end, which a blob of Fast R-CNN's time always had."""
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape
