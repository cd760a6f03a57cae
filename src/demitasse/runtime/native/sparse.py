"""Sparse matrices in memory: gaps and codes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_LARGEST_GAP = 255
# entries that a row of a panel needs for panels to pay
_ENTRIES = 6


class SparseRows(NamedTuple):
    """A matrix of sparse rows: the columns as gaps, the values as codes where there are few of them.

    Columns may be cut into panels: then all rows of the first panel come first.

    Attributes:
        starts: (panels * rows + 1,) int32, where each row of each panel begins.
        gaps: (entries,) uint8, the distance from the column before, in a row from the panel's first column on. Where it
            would be too large, there are entries of value 0 between.
        codes: (entries,) uint8, numbers of values, or (0,) where each entry has a value of its own.
        values: the values by code, or by entry, float32.
        factor: (rows,) float32, what the sum of each row is multiplied with, or (0,).
        panel: columns of a panel; 0 where there is only one.
    """

    starts: npt.NDArray[np.int32]
    gaps: npt.NDArray[np.uint8]
    codes: npt.NDArray[np.uint8]
    values: npt.NDArray[np.float32]
    factor: npt.NDArray[np.float32] = np.zeros(0, np.float32)
    panel: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(array.nbytes for array in self[:5])

    def dense(self, columns: int) -> npt.NDArray[np.float32]:
        """Returns the matrix, (rows, columns)."""
        panels = -(-columns // self.panel) if self.panel else 1
        rows = (len(self.starts) - 1) // panels
        found = np.zeros((rows, columns), np.float32)
        values = self.values[self.codes] if len(self.codes) else self.values
        for index, (begin, end) in enumerate(zip(self.starts, self.starts[1:], strict=False)):
            places = index // rows * self.panel + np.cumsum(self.gaps[begin:end], dtype=np.int64)
            np.add.at(found[index % rows], places, values[begin:end])
        return found * self.factor[:, None] if len(self.factor) else found


def sparse_rows(matrix: npt.NDArray[np.float32]) -> SparseRows:
    """Returns a matrix, (rows, columns), as sparse rows."""
    rows, columns = np.nonzero(matrix)
    return of_entries(len(matrix), rows, columns, matrix[rows, columns])


def in_panels(matrix: npt.NDArray[np.float32], panel: int) -> SparseRows:
    """Returns a matrix as sparse rows, in panels of so many columns where rows are long enough."""
    rows, columns = np.nonzero(matrix)
    values, count = matrix[rows, columns], len(matrix)
    panels = -(-matrix.shape[1] // panel)
    if panels < 2 or len(rows) < count * panels * _ENTRIES:
        return of_entries(count, rows, columns, values)
    order = np.argsort(columns // panel, kind="stable")
    rows, columns, values = rows[order], columns[order], values[order]
    return of_entries(count * panels, columns // panel * count + rows, columns % panel, values)._replace(panel=panel)


def of_entries(
    count: int, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], values: npt.NDArray[np.float32]
) -> SparseRows:
    """Returns the sparse rows with these entries, which are in the order of rows, then of columns.

    Args:
        count: number of rows.
        rows: of each entry.
        columns: of each entry.
        values: of each entry.
    """
    first = np.r_[True, rows[1:] != rows[:-1]] if len(rows) else np.zeros(0, bool)
    gaps = np.where(first, columns, np.r_[0, columns[:-1]] * -1 + columns)
    fillers = np.maximum(gaps - 1, 0) // _LARGEST_GAP
    at = np.repeat(np.arange(len(gaps)), fillers)
    left = gaps - fillers * _LARGEST_GAP
    gaps, values = np.insert(left, at, _LARGEST_GAP), np.insert(values, at, np.float32(0))
    counts = np.bincount(rows, minlength=count) + np.bincount(rows, fillers, count).astype(np.int64)
    starts = np.r_[0, np.cumsum(counts)].astype(np.int32)
    known, codes = np.unique(values.view(np.uint32), return_inverse=True)
    if 0 < len(known) <= 256:
        return SparseRows(starts, gaps.astype(np.uint8), codes.astype(np.uint8), known.view(np.float32))
    return SparseRows(starts, gaps.astype(np.uint8), np.zeros(0, np.uint8), np.ascontiguousarray(values, np.float32))
