"""Makes sparse rows of a matrix whose values come in pieces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from demitasse.arrays import Array
from demitasse.packed.kernels import sparse as loops
from demitasse.packed.kernels.distinct import SIZE
from demitasse.packed.sparse import Floats, SparseRows, Unsigned, starts_of

_SIGN = np.uint32(1 << 31)
# values by code: the value 0, and those that a byte has left
_MOST_VALUES = 256


def sparse_rows(matrix: Floats) -> SparseRows:
    """Returns a matrix, (rows, columns), as sparse rows."""
    made = RowsBuilder(*matrix.shape)
    made.append(np.ascontiguousarray(matrix, np.float32).reshape(-1).view(np.uint32))
    return made.finish()


class RowsBuilder:
    """Makes sparse rows of a matrix whose values come in pieces, row by row.

    Args:
        rows: number of rows.
        columns: number of columns.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self._columns = columns
        self._state = np.zeros(loops.STATE, np.int64)
        self._counts = np.zeros(rows, np.int64)
        # grown in place: lists of pieces would leave holes in memory, and would have to be joined
        self._gaps = bytearray()
        self._values = bytearray()  # codes, or bits once there are too many
        self._table = np.zeros(SIZE, np.uint32), np.full(SIZE, -1, np.int64), np.zeros(_MOST_VALUES, np.uint32)
        self._known = self._number(np.zeros(1, np.uint32), np.zeros(1, np.uint8), 0)

    @property
    def nbytes(self) -> int:
        """Bytes of the entries so far."""
        return len(self._gaps) + len(self._values)

    def append(self, bits: NDArray[np.uint32]) -> None:
        """Appends the next values, float32 by their bits."""
        carried = int(self._state[loops.COLUMN] - self._state[loops.LAST])
        most = int(np.count_nonzero(bits)) + (len(bits) + carried) // loops.LARGEST_GAP + 1
        gaps, found = np.empty(most, np.uint8), np.empty(most, np.uint32)
        count = loops.entries(bits, _SIGN, self._columns, self._state, self._counts, gaps, found)
        values = self._numbered(found[:count])  # may replace what is there
        self._gaps += gaps[:count].data
        self._values += values.data

    def finish(self) -> SparseRows:
        """Returns the matrix."""
        starts, gaps = starts_of(self._counts), _array(self._gaps, np.uint8)
        if self._known < 0:
            return SparseRows(starts, gaps, np.zeros(0, np.uint8), _array(self._values, np.float32))
        values = self._table[2][: self._known if len(gaps) else 0].copy().view(np.float32)
        return SparseRows(starts, gaps, _array(self._values, np.uint8), values)

    def _numbered(self, found: NDArray[np.uint32]) -> Unsigned:
        """Returns the codes of values, or their bits if these are too many."""
        if self._known >= 0:
            codes = np.empty(len(found), np.uint8)
            known = self._number(found, codes, self._known)
            if known >= 0:
                self._known = known
                return codes
            self._known = -1
            self._values = bytearray(self._table[2][_array(self._values, np.uint8)].data)
        return found

    def _number(self, found: NDArray[np.uint32], codes: NDArray[np.uint8], known: int) -> int:
        return int(loops.number(found, *self._table, known, codes))


def _array(held: bytearray, kind: type[np.generic]) -> Array:
    """Returns the values of bytes, without a copy."""
    return np.ndarray(len(held) // np.dtype(kind).itemsize, kind, held)
