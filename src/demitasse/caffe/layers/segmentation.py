"""SegAccuracy: how well a net labels pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape, State
from demitasse.caffe.layers.numeric import indices
from demitasse.caffe.sizes import check_size
from demitasse.errors import NetError


@LAYERS.register("SegAccuracy")
class SegAccuracy(Layer):
    """Three numbers, (1, 1, 1, 3): the share of correct pixels, the mean recall, and the mean Jaccard index.

    The recall is averaged over the classes that occur among the labels. The Jaccard index, intersection over union of
    what is labelled and what is found, is averaged over all classes; one that neither has counts as 1. The label of
    each pixel is compared with the class of the largest score, the last of equal ones. Pixels of an ``ignore_label``
    do not count. With ``reset: false`` the numbers are of all batches so far.

    Reference: Long, Shelhamer, Darrell 2015, section 5; Caffe's fork DeepLab.
    """

    bottom_count = (2, 2)
    without_gradient = (1,)
    counts: Tensor

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.seg_accuracy_param
        scores, labels = shapes
        self.ignored, self.resets = list(settings.ignore_label), settings.reset
        self.classes = scores[1] if len(scores) == 4 else 0
        if not self.classes or labels != (scores[0], 1, *scores[2:]):
            raise NetError(
                f"found scores of shape {list(scores)} and labels of {list(labels)}; expected (n, classes, h, w) and "
                "(n, 1, h, w)"
            )
        check_size((self.classes, self.classes, 2), "the table of classes")
        self.register_buffer("counts", torch.zeros(self.classes**2, dtype=torch.long), persistent=False)

    @torch.no_grad()
    @override
    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        found = self.classes - 1 - scores.flip(1).argmax(1).flatten()
        label = labels.flatten().long()
        counted = torch.ones_like(label, dtype=torch.bool)
        for ignored in self.ignored:
            counted &= label != ignored
        label = indices(torch.where(counted, label, 0), self.classes, f"layer {self.spec.name!r}: label")
        pairs = torch.zeros_like(self.counts).index_add_(0, label * self.classes + found, counted.long())
        counts = pairs if self.resets else self.counts + pairs
        if not self.resets:
            self.counts = counts
        return _measures(counts.reshape(self.classes, self.classes).double()).to(scores.dtype)

    @override
    def state(self) -> State:
        return {} if self.resets else {"counts": self.counts.tolist()}

    @override
    def restore(self, state: State) -> None:
        """Restores the counts; an empty state restarts from zeros."""
        self.counts = self.counts.new_tensor(state["counts"]) if state else torch.zeros_like(self.counts)


def _measures(counts: Tensor) -> Tensor:
    """Returns the three numbers, from the pixels of each label (rows) and class found (columns)."""
    correct, labelled, chosen = counts.diagonal(), counts.sum(1), counts.sum(0)
    occurs = labelled > 0
    recall = (correct / labelled.clamp(min=1)).sum() / occurs.sum().clamp(min=1)
    union = labelled + chosen - correct
    jaccard = torch.where(union == correct, 1.0, correct / union.clamp(min=1)).mean()
    share = correct.sum() / counts.sum().clamp(min=1)
    return torch.stack([share, recall, jaccard]).reshape(1, 1, 1, 3)
