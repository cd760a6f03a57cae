"""The boxes that a batch of images really has, as AnnotatedData gives them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from demitasse.caffe.layers.base import Shape
from demitasse.caffe.layers.boxes import Floats, Indices
from demitasse.errors import DataError, NetError

COLUMNS = 8  # item, label, instance, xmin, ymin, xmax, ymax, difficult
_LARGEST = 2.0**31


class TruthBoxes(NamedTuple):
    """Boxes of a batch.

    Attributes:
        item: (n,), the number of each box's image in the batch.
        label: (n,).
        corners: (n, 4), xmin, ymin, xmax, ymax.
        difficult: (n,).
    """

    item: Indices
    label: Indices
    corners: Floats
    difficult: NDArray[np.bool_]

    def where(self, chosen: NDArray[np.bool_]) -> TruthBoxes:
        """Returns the boxes of a mask."""
        return TruthBoxes(self.item[chosen], self.label[chosen], self.corners[chosen], self.difficult[chosen])


def check_rows(shape: Shape, columns: int, what: str) -> None:
    """Checks a blob of one row for each box.

    Raises:
        NetError: its shape is not (1, 1, rows, columns).
    """
    if len(shape) != 4 or shape[:2] != (1, 1) or shape[3] != columns:
        raise NetError(f"{what} have shape {list(shape)}; expected [1, 1, rows, {columns}]")


def box_rows(bottom: Tensor, columns: int, place: str) -> Floats:
    """Returns the rows (n, columns) of a blob, without those whose item is -1.

    Raises:
        DataError: a number is not finite.
    """
    rows: Floats = bottom.detach().cpu().numpy().reshape(-1, columns)
    rows = rows[rows[:, 0] != -1]
    if not (np.abs(rows) < _LARGEST).all():
        raise DataError(f"{place}: a row of a box has a number that is not finite, or beyond 2^31")
    return rows


def read_truths(bottom: Tensor, background: int, place: str) -> TruthBoxes:
    """Returns the boxes in a blob of labels, (1, 1, n, 8).

    Raises:
        DataError: a number is not finite, or a box is background.
    """
    rows = box_rows(bottom, COLUMNS, place)
    item, label = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
    if (label == background).any():
        raise DataError(f"{place}: a box has the label {background} of the background")
    return TruthBoxes(item, label, rows[:, 3:7], rows[:, 7] != 0)
