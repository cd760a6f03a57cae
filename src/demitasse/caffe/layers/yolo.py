"""YoloDetectionOutput and Yolov3DetectionOutput: the boxes that nets of MobileNet-YOLO find."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, CountRange, Layer, Shape
from demitasse.caffe.layers.boxes import Floats, suppress
from demitasse.errors import NetError

_ROW = 7  # item, label, score, xmin, ymin, xmax, ymax
_BOX = 5  # x, y, width, height, and the score of there being an object


class YoloOutput(Layer, ABC):
    """Base of both: boxes after non-maximum suppression, (1, 1, found, 7).

    Rows are item, label from 1, score, xmin, ymin, xmax, ymax in units of the image, by item and score. Boxes of
    different classes suppress each other. If nothing is found, there is a row of -1 for each item, with the number of
    the item first. Each item of a batch is searched by itself, where MobileNet-YOLO's code takes all for one image.

    The number of rows differs from batch to batch; the net is built for the largest.
    """

    bottom_count: CountRange = (1, None)
    classes: int
    boxes: int
    least: float
    threshold: float
    inclusive: ClassVar[bool] = False  # whether a score of just the threshold is enough

    def _check(self, shapes: Sequence[Shape]) -> None:
        self.without_gradient = tuple(range(len(shapes)))
        wanted = self.boxes * (_BOX + self.classes)
        for name, shape in zip(self.spec.bottom, shapes, strict=True):
            if len(shape) != 4 or shape[1] != wanted or shape[0] != shapes[0][0]:
                raise NetError(
                    f"bottom {name!r} has shape {list(shape)}; expected (n, {wanted}, h, w): {self.boxes} boxes of "
                    f"{_BOX} + {self.classes} values"
                )

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return [(1, 1, sum(self.boxes * n * height * width for n, _, height, width in shapes), _ROW)]

    def parts(self, bottom: Tensor) -> Tensor:
        """Returns the values of every box, (n, h, w, boxes, 5 + classes)."""
        n, _, height, width = bottom.shape
        return bottom.reshape(n, self.boxes, _BOX + self.classes, height, width).permute(0, 3, 4, 1, 2)

    def corners(self, parts: Tensor, anchors: Sequence[float], scale: int) -> Tensor:
        """Returns the corners of every box, (n, h, w, boxes, 4).

        Args:
            parts: see :meth:`parts`.
            anchors: width and height of each box.
            scale: the size of a cell, in the units of the anchors.
        """
        height, width = parts.shape[1:3]
        rows, columns = torch.arange(height), torch.arange(width)
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)[:, :, None].to(parts)
        plane = parts.new_tensor([width, height])
        middle = (grid + torch.sigmoid(parts[..., :2])) / plane
        half = parts[..., 2:4].exp() * parts.new_tensor(anchors).reshape(-1, 2) / (plane * scale) / 2
        return torch.cat([middle - half, middle + half], -1)

    @abstractmethod
    def candidates(self, *bottoms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns corners of all boxes, (n, boxes, 4), and score and number of their best classes, (n, boxes)."""

    @torch.no_grad()
    @override
    def forward(self, *bottoms: Tensor) -> Tensor:
        boxes, scores, labels = self.candidates(*(bottom.detach().double() for bottom in bottoms))
        above = [row >= self.least if self.inclusive else row > self.least for row in scores]
        found = [[part[keep] for part, keep in zip(parts, above, strict=True)] for parts in (boxes, scores, labels)]
        return self.rows(found[0], found[1], found[2], bottoms[0])

    def rows(self, boxes: Sequence[Tensor], scores: Sequence[Tensor], labels: Sequence[Tensor], like: Tensor) -> Tensor:
        """Returns the top, from the boxes, scores and labels of each item that are above the threshold."""
        found = [
            self._item(number, *(part.detach().cpu().numpy() for part in parts))
            for number, parts in enumerate(zip(boxes, scores, labels, strict=True))
        ]
        rows = np.concatenate(found) if found else np.zeros((0, _ROW))
        if not len(rows):
            rows = np.full((len(found), _ROW), -1.0)
            rows[:, 0] = np.arange(len(found))
        return torch.from_numpy(rows[None, None]).to(like)

    def _item(self, number: int, boxes: Floats, scores: Floats, labels: Floats) -> Floats:
        order = np.argsort(-scores, kind="stable")
        boxes, scores, labels = boxes[order], scores[order], labels[order]
        # a box that overlaps by just the threshold is not kept
        below = float(np.nextafter(self.threshold, -np.inf))
        kept = suppress(boxes, below, place=f"layer {self.spec.name!r}")
        found: Floats = np.concatenate(
            [np.full((len(kept), 1), number), labels[kept, None] + 1, scores[kept, None], boxes[kept]], 1
        )
        return found


@LAYERS.register("YoloDetectionOutput")
class YoloDetectionOutput(YoloOutput):
    """Boxes of YOLO v2: score = sigmoid(object) * softmax(classes), of the best class of each box.

    ``biases`` are width and height of the anchors, in cells. Two bottoms are planes of different resolution.

    Reference: Redmon and Farhadi 2017, section 2, "Direct location prediction".
    """

    bottom_count: CountRange = (1, 2)
    inclusive = True

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.yolo_detection_output_param
        self.classes, self.boxes = settings.num_classes, settings.num_box
        self.least, self.threshold = settings.confidence_threshold, settings.nms_threshold
        self.biases = list(settings.biases)
        if settings.coords != 4 or len(self.biases) != 2 * self.boxes or not self.classes:
            raise NetError(
                f"found coords {settings.coords}, {self.classes} classes and {len(self.biases)} biases; expected "
                f"coords 4, at least one class, and two biases for each of {self.boxes} boxes"
            )
        self._check(shapes)

    @override
    def candidates(self, *bottoms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        boxes, scores, labels = [], [], []
        for bottom in bottoms:
            parts = self.parts(bottom)
            best = torch.softmax(parts[..., _BOX:], -1).max(-1)
            boxes.append(self.corners(parts, self.biases, 1).flatten(1, 3))
            scores.append((torch.sigmoid(parts[..., 4]) * best.values).flatten(1))
            labels.append(best.indices.flatten(1))
        return torch.cat(boxes, 1), torch.cat(scores, 1), torch.cat(labels, 1)


@LAYERS.register("Yolov3DetectionOutput")
class Yolov3DetectionOutput(YoloOutput):
    """Boxes of YOLO v3: score = sigmoid(object) * sigmoid(class), of the best class of each box.

    ``biases`` are width and height of the anchors, in pixels; ``mask`` numbers those of each bottom, the first bottom
    first, ``anchors_scale`` is the size of its cells, and ``mask_group_num`` the number of bottoms.

    Reference: Redmon and Farhadi 2018, sections 2.1 to 2.3.
    """

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.yolov3_detection_output_param
        self.classes, self.boxes = settings.num_classes, settings.num_box
        self.least, self.threshold = settings.confidence_threshold, settings.nms_threshold
        self.biases, self.mask, self.scales = list(settings.biases), list(settings.mask), list(settings.anchors_scale)
        groups = settings.mask_group_num
        fits = groups == len(shapes) == len(self.scales) and len(self.mask) == groups * self.boxes and self.classes
        if not fits or 2 * max(self.mask) + 1 >= len(self.biases) or not min(self.scales):
            raise NetError(
                f"found {len(shapes)} bottoms, mask_group_num {groups}, {len(self.mask)} masks, {len(self.scales)} "
                f"anchors_scale and {len(self.biases)} biases; expected one scale and num_box masks for each bottom, "
                "and two biases for each anchor"
            )
        self._check(shapes)

    @override
    def candidates(self, *bottoms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        boxes, scores, labels = [], [], []
        for index, bottom in enumerate(bottoms):
            parts = self.parts(bottom)
            chosen = self.mask[index * self.boxes : (index + 1) * self.boxes]
            anchors = [side for number in chosen for side in self.biases[2 * number : 2 * number + 2]]
            # boxes of one anchor are equal, so that the best class suppresses the others
            best = torch.sigmoid(parts[..., _BOX:]).max(-1)
            boxes.append(self.corners(parts, anchors, self.scales[index]).flatten(1, 3))
            scores.append((torch.sigmoid(parts[..., 4]) * best.values).flatten(1))
            labels.append(best.indices.flatten(1))
        return torch.cat(boxes, 1), torch.cat(scores, 1), torch.cat(labels, 1)
