"""Matrices of which only the nonzero values are kept.

The loops are loaded when they are first needed: what is packed already is used without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Unsigned = NDArray[np.unsignedinteger]

NO_FACTOR: Floats = np.zeros(0, np.float32)


class SparseRows(NamedTuple):
    """A matrix of sparse rows: the columns as gaps, the values as codes where there are few of them.

    Attributes:
        starts: (rows + 1,) int32, where each row begins.
        gaps: (entries,) uint8, the distance from the column before, in a row from column 0 on. Where it would be too
            large, there are entries of value 0 between.
        codes: (entries,) uint8, numbers of values, or (0,) where each entry has a value of its own.
        values: the values by code, or by entry, float32. Code 0 is the value 0.
        factor: (rows,) float32, by which each row is multiplied; (0,) for none. Of a matrix that is transposed it
            has a factor for each row of the matrix as it was.
    """

    starts: NDArray[np.int32]
    gaps: NDArray[np.uint8]
    codes: NDArray[np.uint8]
    values: Floats
    factor: Floats = NO_FACTOR

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(array.nbytes for array in self)

    def entries(self) -> Floats:
        """Returns the value of each entry, without the factor of its row."""
        return self.values[self.codes] if len(self.codes) else self.values

    def kept(self) -> int:
        """Returns the number of values that are not zero."""
        return int(np.count_nonzero(self.codes if len(self.codes) else self.values))

    def dense(self, columns: int) -> Floats:
        """Returns the matrix, (rows, columns)."""
        rows = len(self.starts) - 1
        found = np.zeros((rows, columns), np.float32)
        # where all entries would be if one row followed the other
        ends = np.cumsum(self.gaps, dtype=np.int64)
        before = np.where(self.starts[:-1] > 0, ends[self.starts[:-1] - 1], 0) if len(ends) else np.zeros(rows, int)
        places = ends + np.repeat(np.arange(rows) * columns - before, np.diff(self.starts))
        found.reshape(-1)[places] = self.entries()
        return found * self.factor[:, None] if len(self.factor) else found

    def transposed(self, blocks: Sequence[int], to: Sequence[int], lines: int) -> SparseRows:
        """Returns a matrix whose blocks of rows are transposed, each by itself.

        Args:
            blocks: the first row of each block, and the number of all rows.
            to: the row of the result where each block begins.
            lines: number of rows of the result.
        """
        from demitasse.packed.kernels import sparse as loops

        held = self._held()
        bounds = np.array(blocks, np.int64), np.array(to, np.int64)
        counts = np.zeros(lines, np.int64)
        loops.lines_of_transpose(self.starts, self.gaps, held, *bounds, counts)
        starts = starts_of(counts)
        gaps, found = np.empty(starts[-1], np.uint8), np.empty(starts[-1], held.dtype)
        ends = starts[:-1].astype(np.int64)
        counts[:] = 0
        loops.transpose(self.starts, self.gaps, held, *bounds, ends, counts, gaps, found)
        return self._with(starts, gaps, found)

    def _held(self) -> Unsigned:
        """Returns the codes, or the bits of the values."""
        return self.codes if len(self.codes) else self.values.view(np.uint32)

    def _with(self, starts: NDArray[np.int32], gaps: NDArray[np.uint8], held: Unsigned) -> SparseRows:
        if len(self.codes):
            return self._replace(starts=starts, gaps=gaps, codes=held)
        return self._replace(starts=starts, gaps=gaps, values=held.view(np.float32))


def starts_of(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """Returns where rows with these numbers of entries begin, and the number of all entries."""
    starts = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=starts[1:])
    return starts
