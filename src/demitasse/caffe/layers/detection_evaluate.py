"""DetectionEvaluate: which of the boxes that an SSD finds are true."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.images.box_resizing import in_image
from demitasse.caffe.layers.base import LAYERS, Layer, Shape, State
from demitasse.caffe.layers.boxes import Floats, overlaps
from demitasse.caffe.layers.truths import COLUMNS, TruthBoxes, box_rows, check_rows, read_truths
from demitasse.caffe.list_file import read_lines
from demitasse.errors import DataError, NetError

_FOUND, _ROW = 7, 5
Size = tuple[int, int]


@LAYERS.register("DetectionEvaluate")
class DetectionEvaluate(Layer):
    """True and false positives, (1, 1, rows, 5).

    Bottoms: what DetectionOutput finds, (1, 1, rows, 7), and the true boxes, (1, 1, rows, 8). First there is a row
    for each class but the background: -1, label, number of true boxes, -1, -1. Then one for each box found, by item,
    label and score: item, label, score, 1 or 0 for true, 1 or 0 for false. A box is true if it is the first to overlap
    the true box that it overlaps most by ``overlap_threshold`` or more. Without ``evaluate_difficult_gt``, difficult
    boxes are not counted, and what is found of them is neither true nor false.

    With ``name_size_file``, a file with lines ``<name> <height> <width>`` in the order of the images, boxes are
    compared in pixels, in the images before ``resize_param``. The position in the file goes on from batch to batch.

    Reference: Everingham et al. 2010 (PASCAL VOC), section 4.2.
    """

    bottom_count = (2, 2)
    without_gradient = (0, 1)

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.detection_evaluate_param
        self.classes, self.least = settings.num_classes, settings.overlap_threshold
        self.background = int(np.uint32(settings.background_label_id).astype(np.int32))
        self.counts_difficult = settings.evaluate_difficult_gt
        self.labels = [label for label in range(self.classes) if label != self.background]
        self.sizes = _sizes(settings.name_size_file) if settings.name_size_file else []
        self.position = 0
        if not self.classes:
            raise NetError("num_classes is missing; expected a positive number")
        if not self.least > 0:
            raise NetError(f"overlap_threshold is {self.least:g}; expected a positive number")
        check_rows(shapes[0], _FOUND, "the detections")
        check_rows(shapes[1], COLUMNS, "the labels")

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return [(1, 1, len(self.labels) + shapes[0][2], _ROW)]

    @torch.no_grad()
    @override
    def forward(self, detections: Tensor, labels: Tensor) -> Tensor:
        place = f"layer {self.spec.name!r}"
        found = box_rows(detections, _FOUND, place)
        truths = read_truths(labels, self.background, place)
        if (found[:, 1] == self.background).any():
            raise DataError(f"{place}: a box is found with the label {self.background} of the background")
        counted = truths.label if self.counts_difficult else truths.label[~truths.difficult]
        rows: list[tuple[float, ...]] = [(-1.0, label, (counted == label).sum(), -1.0, -1.0) for label in self.labels]
        items = max((int(numbers.max(initial=-1)) for numbers in (found[:, 0], truths.item)), default=-1) + 1
        found = found[found[:, 1] != -1]
        for item in np.unique(found[:, 0]):
            mine = found[found[:, 0] == item]
            for label in np.unique(mine[:, 1]):
                known = truths.where((truths.item == item) & (truths.label == label))
                rows += self._judged(mine[mine[:, 1] == label], known, self._size(int(item)))
        if self.sizes:
            self.position = (self.position + items) % len(self.sizes)
        return torch.tensor(np.array(rows, np.float64).reshape(1, 1, -1, _ROW)).to(detections)

    def _size(self, item: int) -> Size | None:
        """Returns height and width of an image of this batch in pixels, if they are known."""
        return self.sizes[(self.position + item) % len(self.sizes)] if self.sizes else None

    def _judged(self, found: Floats, truths: TruthBoxes, size: Size | None) -> Iterator[tuple[float, ...]]:
        """Yields the rows of the boxes of one item and label."""
        if len(truths.label):
            found = found[np.argsort(-found[:, 2], kind="stable")]
        boxes, known = found[:, 3:], truths.corners
        if size is not None:
            settings = self.spec.detection_evaluate_param
            resize = settings.resize_param if settings.HasField("resize_param") else None
            boxes, known = in_image(boxes, size, resize), in_image(known, size, resize)
        common = overlaps(boxes, known, 0.0 if size is None else 1.0)
        taken = np.zeros(len(known), bool)
        for row, shared in zip(found, common, strict=True):
            positive = (0.0, 1.0)
            if len(shared) and shared.max() >= self.least:
                best = shared.argmax()
                if truths.difficult[best] and not self.counts_difficult:
                    positive = (0.0, 0.0)
                elif not taken[best]:
                    positive, taken[best] = (1.0, 0.0), True
            yield (*row[:3], *positive)

    @override
    def state(self) -> State:
        return {"position": self.position} if self.sizes else {}

    @override
    def restore(self, state: State) -> None:
        """Restores the position in ``name_size_file``; an empty state restarts from the first image."""
        self.position = state.get("position", 0)


def _sizes(path: str) -> list[Size]:
    """Returns the sizes in a file with lines ``<name> <height> <width>``."""
    sizes = []
    for number, line in enumerate(read_lines(path, "a file of names and sizes"), start=1):
        words = line.split()
        if not words:
            continue
        try:
            size = int(words[-2]), int(words[-1])
        except (ValueError, IndexError):
            size = (0, 0)
        if len(words) < 3 or min(size) < 1:
            raise DataError(f"{path}:{number}: expected '<name> <height> <width>', found {line!r}")
        sizes.append(size)
    if not sizes:
        raise DataError(f"{path}: the file names no images")
    return sizes
