"""Layers that rank scores: Accuracy and ArgMax."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape, canonical_axis
from demitasse.errors import NetError


@LAYERS.register("Accuracy")
class Accuracy(Layer):
    """The share of items whose label's score is among the ``top_k`` largest; the second top has it for each class.

    Another class with the same score counts as better. If all labels are ignored, the share is 0.
    """

    bottom_count = (2, 2)
    top_count = (1, 2)

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.accuracy_param
        scores, labels = shapes
        self.axis = canonical_axis(settings.axis, len(scores))
        self.classes = scores[self.axis]
        self.top_k = settings.top_k
        self.ignored = settings.ignore_label if settings.HasField("ignore_label") else None
        wanted = math.prod(scores) // max(self.classes, 1)
        if math.prod(labels) != wanted:
            raise NetError(f"scores of shape {list(scores)} need {wanted} labels, found labels of shape {list(labels)}")
        if not 0 < self.top_k <= self.classes:
            raise NetError(f"top_k is {self.top_k}; expected 1 to {self.classes}, the number of classes")

    @torch.no_grad()
    @override
    def forward(self, scores: Tensor, labels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        by_class = scores.movedim(self.axis, -1).reshape(-1, self.classes)
        label = labels.reshape(-1).long()
        counted = torch.ones_like(label) if self.ignored is None else (label != self.ignored).long()
        label = label * counted
        true_score = by_class.gather(1, label[:, None])
        # in this form, scores that are not a number also count as better
        better = self.classes - 1 - (by_class < true_score).sum(1)
        correct = (better < self.top_k) * counted
        share = _share(correct.sum(), counted.sum(), scores.dtype)
        if len(self.spec.top) == 1:
            return share
        zeros = label.new_zeros(self.classes)
        return share, _share(zeros.index_add(0, label, correct), zeros.index_add(0, label, counted), scores.dtype)


def _share(part: Tensor, whole: Tensor, dtype: torch.dtype) -> Tensor:
    return part.to(dtype) / whole.clamp(min=1).to(dtype)


@LAYERS.register("ArgMax")
class ArgMax(Layer):
    """The indices of the ``top_k`` largest scores, largest first; among equal scores, the last index comes first.

    Without ``axis``, each item of the batch is ranked as a whole: (n, 1, top_k), or with ``out_max_val``
    (n, 2, top_k), indices before scores. With ``axis``, that axis shrinks to top_k, and with ``out_max_val`` the top
    has the scores instead of the indices.
    """

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.argmax_param
        shape = shapes[0]
        self.axis = canonical_axis(settings.axis, len(shape)) if settings.HasField("axis") else None
        self.with_scores = settings.out_max_val
        self.top_k = settings.top_k
        count = math.prod(shape[1:]) if self.axis is None else shape[self.axis]
        if not 0 < self.top_k <= count:
            raise NetError(f"top_k is {self.top_k}; expected 1 to {count}, the number of scores")

    @torch.no_grad()
    @override
    def forward(self, bottom: Tensor) -> Tensor:
        if self.axis is not None:
            scores, places = self._rank(bottom, self.axis)
            return scores if self.with_scores else places
        scores, places = self._rank(bottom.flatten(1), 1)
        ranked = torch.stack((places, scores), 1) if self.with_scores else places[:, None]
        return ranked.reshape(*ranked.shape, *(1,) * (bottom.ndim - 3))

    def _rank(self, bottom: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        ranked = bottom.flip(axis).sort(dim=axis, descending=True, stable=True)
        places = bottom.shape[axis] - 1 - ranked.indices.narrow(axis, 0, self.top_k)
        return ranked.values.narrow(axis, 0, self.top_k), places.to(bottom.dtype)
