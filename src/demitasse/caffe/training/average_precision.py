"""Average precision: how well the boxes of a class are found, from the most to the least certain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]

_EPS = 1e-6  # recalls that differ by less are the same


def average_precision(scores: Curve, true: NDArray[np.bool_], positives: int, version: str) -> float:
    """Returns the average precision of a class.

    Args:
        scores: (n,), how certain each box is; of equal ones, the first counts first.
        true: (n,), whether it is true.
        positives: the number of true boxes, found or not.
        version: a key of :data:`VERSIONS`.

    Reference: Everingham et al. 2010 (PASCAL VOC), section 4.2.
    """
    if not len(scores) or not positives:
        return 0.0
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(true[order])
    # in float32, as in SSD's code: a recall of 7/10 is below 0.7
    precision = (found / np.arange(1, len(found) + 1)).astype(np.float32).astype(np.float64)
    recall = (found / positives).astype(np.float32).astype(np.float64)
    return VERSIONS[version](precision, recall)


def _eleven_points(precision: Curve, recall: Curve) -> float:
    """The mean over the recalls 0, 0.1, ... 1 of the largest precision at that recall or above (VOC 2007)."""
    return float(np.mean([precision[recall >= least / 10].max(initial=0) for least in range(11)]))


def _largest_integral(precision: Curve, recall: Curve) -> float:
    """The area under the precision that no later one exceeds (VOC 2012)."""
    largest = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(recall)
    steps[np.abs(steps) <= _EPS] = 0
    return float((largest[:-1] * steps).sum() + recall[0] * largest[0])


def _integral(precision: Curve, recall: Curve) -> float:
    """The area under the precision."""
    steps = np.diff(recall, prepend=0)
    steps[np.abs(steps) <= _EPS] = 0
    return float((precision * steps).sum())


# ap_version of a solver -> the area under a curve of precision and recall
VERSIONS: dict[str, Callable[[Curve, Curve], float]] = {
    "11point": _eleven_points,
    "Integral": _integral,
    "MaxIntegral": _largest_integral,
}
