"""Non-maximum suppression of boxes as cv2 has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from demitasse.caffe.layers.boxes import suppress
from demitasse.errors import DataError


def NMSBoxes(
    bboxes: ArrayLike,
    scores: ArrayLike,
    score_threshold: float,
    nms_threshold: float,
    eta: float = 1.0,
    top_k: int = 0,
) -> NDArray[np.int32]:
    """Returns the indices of the boxes that are kept, the best first, (kept,).

    Args:
        bboxes: (n, 4): x and y of the upper left corner, width and height.
        scores: (n,).
        score_threshold: boxes with this score or a lower one are left out.
        nms_threshold: the largest intersection over union of two boxes that are kept.
        eta: below 1, the threshold is multiplied by it after each kept box while it is above 0.5.
        top_k: the number of best boxes that are considered; 0 for all.

    Raises:
        DataError: the numbers of boxes and scores differ, or there are more than 65,536 boxes to compare.

    Reference: Girshick, Donahue, Darrell, Malik 2014, section 2.2.
    """
    boxes = np.asarray(bboxes, np.float64).reshape(-1, 4)
    ranks: NDArray[Any] = np.asarray(scores, np.float32).reshape(-1)
    if len(boxes) != len(ranks):
        raise DataError(f"NMSBoxes: found {len(boxes)} boxes and {len(ranks)} scores; expected one score for each box")
    places = np.flatnonzero(ranks > np.float32(score_threshold))
    places = places[np.argsort(-ranks[places], kind="stable")][: top_k if top_k > 0 else None]
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    return places[suppress(corners[places], nms_threshold, eta=eta, place="NMSBoxes")].astype(np.int32)
