"""The boxes of an image, which follow it through all transformations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from demitasse.caffe import schema
from demitasse.errors import DataError

Boxes = NDArray[np.floating[Any]]
Window = NDArray[np.floating[Any]]  # xmin, ymin, xmax, ymax, in fractions of the image

_LARGEST = 2.0**31


class Annotations(NamedTuple):
    """The boxes of an image.

    Attributes:
        label: (n,), the number of each box's class.
        instance: (n,), its number among the boxes of its class.
        corners: (n, 4), xmin, ymin, xmax, ymax, in fractions of the image.
        difficult: (n,).
    """

    label: NDArray[np.int64]
    instance: NDArray[np.int64]
    corners: Boxes
    difficult: NDArray[np.bool_]

    @classmethod
    def of(cls, datum: schema.AnnotatedDatum) -> Annotations:
        """Returns the boxes of an AnnotatedDatum.

        Raises:
            DataError: a corner is not finite, or beyond 2^31.
        """
        pairs = [(group.group_label, each) for group in datum.annotation_group for each in group.annotation]
        boxes = [(each.bbox.xmin, each.bbox.ymin, each.bbox.xmax, each.bbox.ymax) for _, each in pairs]
        corners = np.array(boxes, np.float32).reshape(-1, 4)
        if not (np.abs(corners) < _LARGEST).all():
            raise DataError("a corner of a box is not finite, or beyond 2^31")
        return cls(
            np.array([label for label, _ in pairs], np.int64),
            np.array([each.instance_id for _, each in pairs], np.int64),
            corners,
            np.array([each.bbox.difficult for _, each in pairs], bool),
        )

    def seen(self, window: Window, emit: schema.EmitConstraint | None) -> Annotations:
        """Returns the boxes in a window of the image, in fractions of the window.

        Parts beyond the window are cut off, and boxes of which nothing is left are left out. With ``emit``, so are
        those whose centre is not in the window, or of which no more than a share is (MIN_OVERLAP).
        """
        window = window.astype(self.corners.dtype)
        start, size = window[:2], window[2:] - window[:2]
        low, high = self.corners[:, :2], self.corners[:, 2:]
        corners = ((self.corners - np.tile(start, 2)) / np.tile(size, 2)).clip(0, 1)
        kept = (low < window[2:]).all(1) & (high > start).all(1) & (corners[:, 2:] > corners[:, :2]).all(1)
        if emit is not None and emit.emit_type == emit.CENTER:
            middle = (low + high) / 2
            kept = kept & ((middle >= start) & (middle <= window[2:])).all(1)
        elif emit is not None:
            kept = kept & (coverage(self.corners, window[None])[:, 0] > emit.emit_overlap)
        return self._replace(corners=corners).where(np.asarray(kept))

    def where(self, kept: NDArray[np.bool_]) -> Annotations:
        """Returns the boxes of a mask."""
        return Annotations(self.label[kept], self.instance[kept], self.corners[kept], self.difficult[kept])

    def mirrored(self) -> Annotations:
        """Returns the boxes of the mirrored image."""
        corners = self.corners.copy()
        corners[:, [0, 2]] = 1 - self.corners[:, [2, 0]]
        return self._replace(corners=corners)

    def rows(self, item: int) -> NDArray[np.float32]:
        """Returns rows for a net, (n, 8): item, label, instance, xmin, ymin, xmax, ymax, difficult."""
        columns = [np.full(len(self.label), item), self.label, self.instance, self.corners, self.difficult]
        return np.column_stack(columns).astype(np.float32)


def coverage(boxes: Boxes, others: Boxes) -> Boxes:
    """Returns the share of every one of n boxes that each of m others covers, (n, m); 0 for boxes without an area."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = (high - low).clip(min=0).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(1)
    found: Boxes = common / np.where(area > 0, area, np.inf)[:, None]
    return found
