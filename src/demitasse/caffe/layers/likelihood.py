"""Losses by the probabilities of labels: MultinomialLogisticLoss and InfogainLoss."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape, canonical_axis
from demitasse.caffe.layers.loss import LabelledLoss
from demitasse.caffe.layers.numeric import indices
from demitasse.caffe.models.blobs import read_blob
from demitasse.errors import NetError

_SMALLEST = 1e-20


@LAYERS.register("MultinomialLogisticLoss")
class MultinomialLogisticLoss(Layer):
    """The mean over the batch of -log(p[label]), where p is the bottom, at least 1e-20."""

    bottom_count = (2, 2)
    is_loss = True
    without_gradient = (1,)

    @override
    def setup(self, *shapes: Shape) -> None:
        require_a_label_an_item(*shapes)

    @override
    def forward(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        rows = probabilities.flatten(1)
        label = indices(labels.flatten(), rows.shape[1], f"layer {self.spec.name!r}: label")
        taken = rows.gather(1, label[:, None])
        # the gradient is computed at the bounded value, instead of being 0 below the bound
        bounded = taken + (taken.detach().clamp(min=_SMALLEST) - taken.detach())
        return -bounded.log().sum() / rows.shape[0]


def require_a_label_an_item(scores: Shape, labels: Shape) -> None:
    """Checks the bottoms of a loss that has one label for each item of the batch.

    Raises:
        NetError: the number of labels differs from the number of items.
    """
    if not scores or math.prod(labels) != scores[0] or labels[:1] != scores[:1]:
        raise NetError(
            f"scores of shape {list(scores)} need one label for each item, found labels of shape {list(labels)}"
        )


@LAYERS.register("InfogainLoss")
class InfogainLoss(LabelledLoss):
    """-sum over k of H[label, k] * log(softmax(x)[k]), summed and normalized; the second top is the softmax.

    H (classes, classes) is the third bottom, or the blob in the file ``source``. Small probabilities give their true
    logarithm; Caffe limits it to log(1e-20).
    """

    bottom_count = (2, 3)
    top_count = (1, 2)
    matrix: Tensor

    @override
    def setup(self, *shapes: Shape) -> None:
        super().setup(*shapes)
        scores, labels = shapes[:2]
        settings = self.spec.infogain_loss_param
        self.axis = canonical_axis(settings.axis, len(scores))
        self.classes = scores[self.axis]
        wanted = math.prod(scores) // max(self.classes, 1)
        if math.prod(labels) != wanted:
            raise NetError(f"scores of shape {list(scores)} need {wanted} labels, found labels of shape {list(labels)}")
        if len(shapes) == 3:
            self.without_gradient = (1, 2)
            self._require_square(self.spec.bottom[2], shapes[2])
        elif not settings.source:
            raise NetError("InfogainLoss has no matrix; expected a third bottom or infogain_loss_param { source: ... }")
        else:
            self.register_buffer("matrix", self._read(settings.source), persistent=False)

    def _read(self, path: str) -> Tensor:
        matrix = torch.from_numpy(read_blob(path))
        self._require_square(path, tuple(matrix.shape))
        return matrix.reshape(self.classes, self.classes)

    def _require_square(self, name: str, shape: Shape) -> None:
        if math.prod(shape) != self.classes**2:
            raise NetError(f"{name!r} has shape {list(shape)}; expected a matrix of {self.classes} x {self.classes}")

    @override
    def forward(self, scores: Tensor, labels: Tensor, matrix: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        logarithms = F.log_softmax(scores.movedim(self.axis, -1).reshape(-1, self.classes), 1)
        label = labels.detach().flatten().long()
        place = f"layer {self.spec.name!r}: label"
        gains = (self.matrix if matrix is None else matrix.detach().reshape(self.classes, self.classes))[
            indices(label, self.classes, place, self.ignored)
        ]
        if self.ignored is not None:
            gains = gains * (label != self.ignored)[:, None]
        total = -(gains * logarithms).sum()
        loss = self.normalize(total, label, math.prod(scores.shape[: self.axis]))
        return (loss, F.softmax(scores.detach(), self.axis)) if len(self.spec.top) == 2 else loss
