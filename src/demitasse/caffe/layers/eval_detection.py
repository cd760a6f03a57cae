"""EvalDetection: which of the boxes that a YOLO finds are true."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.caffe.layers.boxes import Floats, Indices, overlaps, suppress
from demitasse.errors import DataError, NetError

_TRUTHS, _TRUTH = 30, 5  # boxes of an image in labels of the second version: class, x, y, width, height
_LEAST = 0.005  # score of a box of the second version


class _Boxes(NamedTuple):
    """Boxes of one image.

    Attributes:
        label: (boxes,).
        score: (boxes,); of true boxes 1, and 0 of difficult ones.
        corners: (boxes, 4), in widths and heights of the image.
    """

    label: Indices
    score: Floats
    corners: Floats


@LAYERS.register("EvalDetection")
class EvalDetection(Layer):
    """True and false positives, (n, num_class + 4 side^2 num_object).

    First the number of true boxes of each class, then for each box found, by class and score: class, score, 1 or 0 for
    true, 1 or 0 for false; then zeros. A box is true if it is the first to overlap the true box of its class that it
    overlaps most by ``threshold`` or more. With ``nms`` of at least 0, boxes that overlap a better one by that are left
    out.

    Without ``biases``, the bottoms are those of the first version, planes of ``side`` by ``side``: (n, classes,
    objects, and x, y, width, height of each object), and (n, difficult, occupied, class, and x, y, width, height of
    each cell). With them they are those of the second: (n, num_object (5 + num_class), side, side), and (n, 30 * 5),
    class, x, y, width, height.

    Reference: Redmon, Divvala, Girshick, Farhadi 2016, section 2; Redmon, Farhadi 2017, section 2.
    """

    bottom_count = (2, 2)
    without_gradient = (0, 1)

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.eval_detection_param
        self.side, self.classes, self.objects = settings.side, settings.num_class, settings.num_object
        self.least, self.nms = settings.threshold, settings.nms
        self.kind = settings.ScoreType.Name(settings.score_type)
        self.roots, self.in_cells = settings.sqrt, settings.constriant
        self.anchors = np.array(settings.biases, np.float64).reshape(-1, 2) if len(settings.biases) % 2 == 0 else None
        cells = self.side**2
        if not (cells and self.classes and self.objects):
            raise NetError(
                f"side is {self.side}, num_class {self.classes} and num_object {self.objects}; expected positive "
                "numbers"
            )
        if self.anchors is None or len(self.anchors) not in (0, self.objects):
            raise NetError(
                f"found {len(settings.biases)} biases; expected two for each of {self.objects} objects, or none"
            )
        sizes = [int(np.prod(shape[1:])) for shape in shapes]
        second = len(self.anchors) > 0
        expected = [
            cells * (self.objects * (5 + self.classes) if second else self.classes + 5 * self.objects),
            _TRUTHS * _TRUTH if second else 7 * cells,
        ]
        if sizes != expected or shapes[0][0] != shapes[1][0]:
            raise NetError(
                f"found bottoms of shapes {[list(shape) for shape in shapes]}; expected n items of {expected[0]} and "
                f"of {expected[1]} numbers"
            )

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return [(shapes[0][0], self.classes + 4 * self.side**2 * self.objects)]

    @torch.no_grad()
    @override
    def forward(self, found: Tensor, labels: Tensor) -> Tensor:
        second = self.anchors is not None and len(self.anchors) > 0
        rows = np.zeros(self.top_shapes(tuple(found.shape))[0])
        items = zip(
            rows, found.flatten(1).double().cpu().numpy(), labels.flatten(1).double().cpu().numpy(), strict=True
        )
        for row, values, truth in items:
            truths = self._truths_of_list(truth) if second else self._truths_of_cells(truth)
            if len(truths.label) and not 0 <= truths.label.min() <= truths.label.max() < self.classes:
                raise DataError(
                    f"layer {self.spec.name!r}: label {truths.label} is out of range; expected 0 to {self.classes - 1}"
                )
            boxes = self._chosen(self._found_by_anchors(values) if second else self._found_in_cells(values), second)
            row[: self.classes] = np.bincount(truths.label, truths.score, self.classes)
            row[self.classes :][: 4 * len(boxes.label)] = self._judged(boxes, truths).ravel()
        return torch.from_numpy(rows).to(found)

    def _truths_of_cells(self, values: Floats) -> _Boxes:
        difficult, occupied, label, places = np.split(values, np.array([1, 2, 3]) * self.side**2)
        there = occupied != 0
        return _Boxes(
            label[there].astype(np.int64), 1.0 * (difficult[there] != 1), _corners(places.reshape(-1, 4)[there])
        )

    def _truths_of_list(self, values: Floats) -> _Boxes:
        rows = values.reshape(_TRUTHS, _TRUTH)
        rows = rows[: np.argmax(np.append(rows[:, 1], 0) == 0)]
        return _Boxes(rows[:, 0].astype(np.int64), np.ones(len(rows)), _corners(rows[:, 1:]))

    def _found_in_cells(self, values: Floats) -> _Boxes:
        cells, objects = self.side**2, self.objects
        parts = np.split(values.reshape(-1, cells).T, [self.classes, self.classes + objects], 1)
        places = parts[2].reshape(cells, objects, 4).copy()
        if self.in_cells:
            rows, columns = np.divmod(np.arange(cells), self.side)
            places[..., 0] = (places[..., 0] + columns[:, None]) / self.side
            places[..., 1] = (places[..., 1] + rows[:, None]) / self.side
        if self.roots:
            places[..., 2:] **= 2
        return self._scored(parts[0][:, None].repeat(objects, 1), parts[1], places)

    def _found_by_anchors(self, values: Floats) -> _Boxes:
        assert self.anchors is not None
        cells = self.side**2
        each = values.reshape(self.objects, 5 + self.classes, cells).transpose(2, 0, 1)
        rows, columns = np.divmod(np.arange(cells), self.side)
        with np.errstate(over="ignore"):
            places = np.concatenate(
                [
                    _sigmoid(each[..., :2]) + np.stack([columns, rows], 1)[:, None],
                    np.exp(each[..., 2:4]) * self.anchors,
                ],
                -1,
            )
            odds = np.exp(each[..., 5:] - each[..., 5:].max(-1, keepdims=True))
        return self._scored(odds / odds.sum(-1, keepdims=True), _sigmoid(each[..., 4]), places / self.side)

    def _scored(self, classes: Floats, objects: Floats, places: Floats) -> _Boxes:
        """Returns boxes from (cells, objects, classes), (cells, objects) and (cells, objects, 4)."""
        best = classes.max(-1)
        score = {"OBJ": objects, "PROB": best, "MULTIPLY": objects * best}[self.kind]
        return _Boxes(classes.argmax(-1).ravel(), score.ravel(), _corners(places.reshape(-1, 4)))

    def _chosen(self, boxes: _Boxes, second: bool) -> _Boxes:
        """Returns the boxes that are kept, by class and score."""
        order = np.argsort(-boxes.score, kind="stable")
        if self.nms >= 0:
            # an overlap of nms itself is too much, so that with nms 0 only the best box is left
            most = None if self.nms else 1
            limit = max(float(np.nextafter(self.nms, -1)), 0)
            order = order[suppress(boxes.corners[order], limit, most, place=f"layer {self.spec.name!r}")]
            order = order[boxes.score[order] >= _LEAST] if second else order
        order = order[np.argsort(boxes.label[order], kind="stable")]
        return _Boxes(boxes.label[order], boxes.score[order], boxes.corners[order])

    def _judged(self, boxes: _Boxes, truths: _Boxes) -> Floats:
        """Returns a row for each box: class, score, true, false."""
        common = overlaps(boxes.corners, truths.corners)
        common = np.where(boxes.label[:, None] == truths.label, common, -1)
        rows, taken = np.zeros((len(boxes.label), 4)), np.zeros(len(truths.label), bool)
        rows[:, 0], rows[:, 1], rows[:, 3] = boxes.label, boxes.score, 1
        if not len(truths.label):
            return rows
        for row, each in zip(rows, common, strict=True):
            best = each.argmax()
            if not each[best] >= self.least or each[best] < 0:
                continue
            true = truths.score[best] > 0 and not taken[best]
            row[2:] = true, truths.score[best] > 0 and not true
            taken[best] |= true
        return rows


def _sigmoid(values: Floats) -> Floats:
    found: Floats = 0.5 * np.tanh(values / 2) + 0.5
    return found


def _corners(boxes: Floats) -> Floats:
    """Returns the corners of boxes given by centre, width and height."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], 1)
