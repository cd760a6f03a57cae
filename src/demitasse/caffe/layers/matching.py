"""Which default box of an SSD is responsible for which box of the image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from demitasse.caffe.layers.boxes import Floats, Indices, overlaps
from demitasse.errors import DataError

NOTHING, OUTSIDE = -1, -2
_LEAST = 1e-6  # overlaps up to this are none
_MOST_PAIRS = 1 << 28


class Matches(NamedTuple):
    """What was found for each of the boxes to match.

    Attributes:
        indices: (n,), the index of the true box; -1 for none, -2 for a box that takes no part.
        overlaps: (n,), the largest overlap with a true box; up to 1e-6 is 0.
    """

    indices: Indices
    overlaps: Floats


def match(
    boxes: Floats, truths: Floats, threshold: float, each: bool, inside_only: bool = False, place: str = "matching"
) -> Matches:
    """Matches boxes with true boxes.

    First, every true box gets the box that overlaps it most, the largest overlap first. With ``each``, every further
    box then gets the true box that it overlaps most, if the overlap is ``threshold`` or more.

    Args:
        boxes: (n, 4), corners in fractions of the image.
        truths: (m, 4).
        threshold: the smallest overlap of further matches.
        each: whether there are further matches: PER_PREDICTION instead of BIPARTITE.
        inside_only: whether boxes that reach beyond the image take no part.
        place: what matches, for the error message.

    Raises:
        DataError: there are more than 2^28 pairs of boxes.

    Reference: Liu et al. 2016 (SSD), section 2.2, "Matching strategy".
    """
    if len(boxes) * len(truths) > _MOST_PAIRS:
        raise DataError(
            f"{place}: found {len(boxes):,} default boxes and {len(truths):,} boxes of an image; expected at most "
            f"{_MOST_PAIRS:,} pairs"
        )
    indices = np.full(len(boxes), NOTHING)
    if not len(truths):
        return Matches(indices, np.zeros(len(boxes), boxes.dtype))
    if inside_only:
        indices[((boxes < 0) | (boxes > 1)).any(1)] = OUTSIDE
    pairs = overlaps(boxes, truths)
    pairs[~(pairs > _LEAST) | (indices == OUTSIDE)[:, None]] = 0
    largest = pairs.max(1)
    best = pairs.argmax(1)
    _match_truths(pairs, indices)
    if each:
        further = (indices == NOTHING) & (largest > 0) & (largest >= threshold)
        indices[further] = best[further]
    return Matches(indices, largest)


def _match_truths(pairs: Floats, indices: Indices) -> None:
    """Gives every true box its box, in ``indices``; the first box, then the first true box wins a tie."""
    left = pairs.copy()
    best, value = left.argmax(0), left.max(0)
    for _ in range(left.shape[1]):
        tied = np.flatnonzero(value == value.max())
        truth = tied[best[tied].argmin()]
        if not value[truth] > 0:
            return
        box = best[truth]
        indices[box] = truth
        left[box], left[:, truth] = 0, 0
        value[truth] = 0
        stale = np.flatnonzero((best == box) & (value > 0))
        best[stale], value[stale] = left[:, stale].argmax(0), left[:, stale].max(0)
