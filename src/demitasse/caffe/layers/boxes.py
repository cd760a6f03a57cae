"""Boxes as arrays: their overlap, and non-maximum suppression."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from demitasse.errors import DataError

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]

_BLOCK = 128  # candidates that are compared with the kept boxes at once
_FEW = 64  # candidates of the first block, since often few boxes are wanted
_TINY = np.float32(1e-37)  # instead of a union without area, which nothing has in common
_MOST_PAIRS = 1 << 32  # overlaps that are computed; more would take minutes


def overlaps(left: Floats, right: Floats, pixel: float = 0.0) -> Floats:
    """Returns the intersection over union (Jaccard index) of every box of ``left`` with every box of ``right``.

    Args:
        left: (n, 4), the corners xmin, ymin, xmax, ymax.
        right: (m, 4).
        pixel: is added to widths and heights: 1 where corners are the numbers of pixels, as in Faster R-CNN.

    Returns:
        (n, m); boxes without an area, or with corners that are not numbers, overlap nothing; not a number where areas
        are infinite.
    """
    corners, others = left.T[:, :, None], right.T[:, None, :]
    with np.errstate(invalid="ignore", over="ignore"):
        # fmax takes what is not a number as 0
        width = np.fmax(np.minimum(corners[2], others[2]) - np.maximum(corners[0], others[0]) + pixel, 0)
        height = np.fmax(np.minimum(corners[3], others[3]) - np.maximum(corners[1], others[1]) + pixel, 0)
        common = width * height
        np.copyto(common, 0, where=np.isnan(common))  # an infinite side times none
        union = _areas(left, pixel)[:, None] + _areas(right, pixel) - common
        found: Floats = common / np.maximum(union, _TINY)
    return found


def _areas(boxes: Floats, pixel: float) -> Floats:
    width, height = boxes[:, 2] - boxes[:, 0] + pixel, boxes[:, 3] - boxes[:, 1] + pixel
    found: Floats = np.where((width >= 0) & (height >= 0), width * height, 0)
    return found


def suppress(
    boxes: Floats,
    threshold: float,
    most: int | None = None,
    eta: float = 1.0,
    pixel: float = 0.0,
    place: str = "non-maximum suppression",
) -> Indices:
    """Returns the indices of the boxes to keep: a box is left out where a better kept one overlaps it too much.

    Args:
        boxes: (n, 4), the best first.
        threshold: the largest overlap of two kept boxes; a box whose overlap is not a number is not kept.
        most: the search ends when this number of boxes is kept; None for all.
        eta: below 1, the threshold is multiplied by it after each kept box while it is above 0.5.
        pixel: see :func:`overlaps`.
        place: what suppresses, for the error message.

    Raises:
        DataError: more than 2^32 overlaps may have to be computed, as for 65,537 boxes without ``most``.

    Reference: Girshick, Donahue, Darrell, Malik 2014, section 2.2.
    """
    most = len(boxes) if most is None else min(most, len(boxes))
    if len(boxes) * most > _MOST_PAIRS:
        raise DataError(
            f"{place}: found {len(boxes):,} boxes, of which up to {most:,} may be kept; expected at most "
            f"{_MOST_PAIRS:,} pairs of them; set a smaller top_k or keep_top_k, or a higher confidence_threshold"
        )
    kept: list[int] = []
    start, size = 0, _FEW
    while start < len(boxes) and len(kept) < most:
        block = boxes[start : start + size]
        # the largest overlap with a kept box; not a number wins
        largest = overlaps(block, boxes[kept], pixel).max(1, initial=0.0) if kept else np.zeros(len(block))
        within = overlaps(block, block, pixel)
        for index in range(len(block)):
            if not largest[index] <= threshold:
                continue
            kept.append(start + index)
            if len(kept) == most:
                break
            np.maximum(largest, within[index], out=largest)
            if eta < 1 and threshold > 0.5:
                threshold *= eta
        start, size = start + size, _BLOCK
    return np.array(kept, np.int64)
