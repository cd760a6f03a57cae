"""DetectionOutput: the boxes that an SSD finds."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.caffe.layers.box_code import BoxCode
from demitasse.caffe.layers.boxes import Floats, Indices, suppress
from demitasse.errors import NetError

_ROW = 7  # item, label, score, xmin, ymin, xmax, ymax


@LAYERS.register("DetectionOutput")
class DetectionOutput(Layer):
    """Boxes after non-maximum suppression, (1, 1, found, 7): item, label, score, xmin, ymin, xmax, ymax.

    Bottoms: offsets of the boxes (n, priors * 4), or without ``share_location`` (n, priors * classes * 4); scores
    (n, priors * classes); and the top of PriorBox layers, (1, 2, priors * 4). Of each class but the background, scores
    above ``confidence_threshold`` are ranked, the first ``top_k`` of them go through the suppression, and of each item
    the ``keep_top_k`` best of all classes are kept. Rows go by item, label, and score. If nothing is found, there is a
    row of -1 for each item, with the number of the item first.

    RefineDet has two further bottoms, from its first step: scores of background and object (n, priors * 2), and offsets
    (n, priors * 4). These move the priors first; where the score of object is below ``objectness_score``, the box has
    the scores of background: 1 for that, 0 for the classes.

    The number of rows differs from batch to batch; the net is built for the largest.

    ``normalized_bbox: false`` and ``clip`` are OpenCV's: corners are the numbers of pixels; corners are cut to 0 ... 1.

    Reference: Liu et al. 2016 (SSD), section 2.2, "Inference"; equation 2 for CENTER_SIZE;
    Zhang, Wen, Bian, Lei, Li 2018 (RefineDet), section 3, "Two-Step Cascaded Regression".
    """

    bottom_count = (3, 5)
    without_gradient: tuple[int, ...] = (0, 1, 2, 3, 4)

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.detection_output_param
        self.without_gradient = tuple(range(len(shapes)))
        self.classes, self.background = settings.num_classes, settings.background_label_id
        self.shares, self.clips = settings.share_location, settings.clip
        self.normalized = settings.normalized_bbox
        varied = not settings.variance_encoded_in_target
        self.code = BoxCode.named(settings.code_type, varied, 0.0 if self.normalized else 1.0)
        self.least = settings.confidence_threshold if settings.HasField("confidence_threshold") else -np.inf
        nms = settings.nms_param
        self.threshold, self.eta = nms.nms_threshold, nms.eta
        self.top_k = nms.top_k if nms.HasField("top_k") and nms.top_k >= 0 else None
        self.objectness = settings.objectness_score
        self.keep_top_k = settings.keep_top_k if settings.keep_top_k >= 0 else None
        if len(shapes) == 4:
            raise NetError("found 4 bottoms; expected 3, or 5 with scores and offsets of RefineDet's first step")
        if not self.classes:
            raise NetError("num_classes is missing; expected a positive number")
        if not (self.threshold >= 0 and 0 < self.eta <= 1):
            raise NetError(f"nms_threshold is {self.threshold:g} and eta {self.eta:g}; expected 0 or more, and 0 to 1")
        self._check(shapes)

    def _check(self, shapes: tuple[Shape, ...]) -> None:
        boxes, scores, priors, *first = shapes
        rows = (2,) if self.code.varied else (1, 2)
        if (
            len(priors) < 3
            or priors[0] != 1
            or priors[1] not in rows
            or max(priors[3:], default=1) > 1
            or priors[2] % 4
        ):
            raise NetError(f"the priors have shape {list(priors)}; expected [1, 2, 4 * priors]")
        self.priors = priors[2] // 4
        sizes = [int(np.prod(shape[1:])) for shape in (boxes, scores)]
        wanted = [self.priors * 4 * self.places, self.priors * self.classes]
        if boxes[:1] != scores[:1] or sizes != wanted:
            raise NetError(
                f"the offsets have shape {list(boxes)} and the scores {list(scores)}; expected {wanted[0]} and "
                f"{wanted[1]} values for each item, by {self.priors} priors and {self.classes} classes"
            )
        if first and [(shape[0], int(np.prod(shape[1:]))) for shape in first] != [
            (boxes[0], self.priors * size) for size in (2, 4)
        ]:
            raise NetError(
                f"the first step has shapes {[list(shape) for shape in first]}; expected (n, {2 * self.priors}) and "
                f"(n, {4 * self.priors}), scores and offsets of {self.priors} priors"
            )

    @property
    def places(self) -> int:
        """The number of boxes of a prior: one for all classes, or one for each."""
        return 1 if self.shares else self.classes

    @property
    def most(self) -> int:
        """The largest number of rows for an item."""
        every = self.priors * self.classes
        return every if self.keep_top_k is None else min(self.keep_top_k, every)

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return [(1, 1, max(shapes[0][0] * self.most, shapes[0][0]), _ROW)]

    @torch.no_grad()
    @override
    def forward(self, offsets: Tensor, scores: Tensor, priors: Tensor, *first: Tensor) -> Tensor:
        count = offsets.shape[0]
        moves = offsets.detach().reshape(count, self.priors, self.places, 4)
        defaults, by_class = self._refined(scores.detach(), priors.reshape(1, priors.shape[1], self.priors, 4), *first)
        ranked = by_class.transpose(1, 2).contiguous().cpu().numpy()
        rows = [self._item(item, moves[item], ranked[item], defaults[item % len(defaults)]) for item in range(count)]
        found = np.concatenate(rows) if rows else np.zeros((0, _ROW))
        if not len(found):
            found = np.full((count, _ROW), -1.0)
            found[:, 0] = np.arange(count)
        return torch.from_numpy(found[None, None]).to(offsets)

    def candidates(self, offsets: Tensor, scores: Tensor, priors: Tensor, *first: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the corners of all boxes, (n, priors, 1 or classes, 4), and their scores, (n, classes, priors)."""
        defaults, by_class = self._refined(scores, priors.reshape(1, priors.shape[1], self.priors, 4), *first)
        moves = offsets.reshape(offsets.shape[0], self.priors, self.places, 4)
        boxes = self._decoded(moves, defaults.transpose(0, 1))
        return boxes, by_class.transpose(1, 2)

    def _refined(
        self, scores: Tensor, priors: Tensor, objects: Tensor | None = None, offsets: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns the priors, (1 or n, 2, priors, 4), and the scores, (n, priors, classes), after the first step."""
        by_class = scores.reshape(scores.shape[0], self.priors, self.classes)
        if objects is None or offsets is None:
            return priors, by_class
        moved = self.code.decode(offsets.detach().reshape(len(by_class), self.priors, 4), priors.transpose(0, 1))
        rest = priors[:, 1:].expand(len(moved), -1, -1, -1)
        is_background = objects.reshape(len(by_class), self.priors, 2)[..., 1:] < self.objectness
        background = (torch.arange(self.classes, device=scores.device) == self.background).to(scores.dtype)
        return torch.cat([moved[:, None], rest], 1), torch.where(is_background, background, by_class)

    def _decoded(self, offsets: Tensor, priors: Tensor) -> Tensor:
        """Returns the corners of boxes from offsets (..., priors, k, 4) and priors (2, ..., priors, 4)."""
        boxes = self.code.decode(offsets, priors[..., None, :])
        return boxes.clamp(0, 1) if self.clips else boxes

    def _item(self, number: int, moves: Tensor, scores: Floats, priors: Tensor) -> Floats:
        """Returns the rows of an item, from offsets (priors, 1 or classes, 4) and scores (classes, priors)."""
        labels = [label for label in range(self.classes) if label != self.background]
        boxes = np.zeros(tuple(moves.shape), scores.dtype)
        above = np.flatnonzero((scores[labels] > self.least).any(0))
        chosen = torch.from_numpy(above).to(moves.device)
        boxes[above] = self._decoded(moves[chosen], priors[:, chosen]).cpu().numpy()
        rows = []
        for label in labels:
            corners = boxes[:, 0 if self.shares else label]
            places = self._suppressed(corners, scores[label])
            columns = np.broadcast_to([number, label], (len(places), 2))
            rows.append(np.concatenate([columns, scores[label][places, None], corners[places]], 1))
        found: Floats = np.concatenate(rows) if rows else np.zeros((0, _ROW))
        if self.keep_top_k is not None and len(found) > self.keep_top_k:
            best = np.argsort(-found[:, 2], kind="stable")[: self.keep_top_k]
            found = found[np.sort(best)]
        return found

    def _suppressed(self, boxes: Floats, scores: Floats) -> Indices:
        """Returns the indices of the kept boxes of a class, the best first."""
        places = _ranked(scores, np.flatnonzero(scores > self.least), self.top_k)
        # no more than keep_top_k of a class can be among the best of all classes
        kept = suppress(
            boxes[places], self.threshold, self.keep_top_k, self.eta, self.code.pixel, f"layer {self.spec.name!r}"
        )
        found: Indices = places[kept]
        return found


def _ranked(scores: Floats, places: Indices, most: int | None) -> Indices:
    """Returns up to ``most`` of the places, those of the largest scores first; of equal ones, the first place."""
    if most and len(places) > 4 * most:
        chosen = scores[places]
        least = np.partition(chosen, len(chosen) - most)[len(chosen) - most]
        places = places[chosen >= least]
    found: Indices = places[np.argsort(-scores[places], kind="stable")][:most]
    return found
