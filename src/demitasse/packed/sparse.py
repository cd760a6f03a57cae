"""Matrices of which only the nonzero values are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from demitasse.packed.kernels import sparse as loops
from demitasse.packed.kernels.distinct import SIZE

Floats = NDArray[np.float32]
Unsigned = NDArray[np.unsignedinteger]

_SIGN = np.uint32(1 << 31)
# values by code: the value 0, and those that a byte has left
_MOST_VALUES = 256
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
        found = np.zeros((len(self.starts) - 1, columns), np.float32)
        values = self.entries()
        for row, (begin, end) in enumerate(zip(self.starts, self.starts[1:], strict=False)):
            np.add.at(found[row], np.cumsum(self.gaps[begin:end], dtype=np.int64), values[begin:end])
        return found * self.factor[:, None] if len(self.factor) else found

    def transposed(self, blocks: Sequence[int], to: Sequence[int], lines: int) -> SparseRows:
        """Returns a matrix whose blocks of rows are transposed, each by itself.

        Args:
            blocks: the first row of each block, and the number of all rows.
            to: the row of the result where each block begins.
            lines: number of rows of the result.
        """
        held = self._held()
        bounds = np.array(blocks, np.int64), np.array(to, np.int64)
        counts = np.zeros(lines, np.int64)
        loops.lines_of_transpose(self.starts, self.gaps, held, *bounds, counts)
        starts = _starts(counts)
        gaps, found = np.empty(starts[-1], np.uint8), np.empty(starts[-1], held.dtype)
        ends = starts[:-1].astype(np.int64)
        counts[:] = 0
        loops.transpose(self.starts, self.gaps, held, *bounds, ends, counts, gaps, found)
        return self._with(starts, gaps, found)

    def moved(self, moves: NDArray[np.int64]) -> SparseRows:
        """Returns the rows with all columns moved, (rows,) by how many columns."""
        held = self._held()
        most = len(self.gaps) + int(np.sum(np.maximum(moves, 0) // loops.LARGEST_GAP + 1))
        starts, gaps, found = np.zeros_like(self.starts), np.empty(most, np.uint8), np.empty(most, held.dtype)
        count = loops.move(self.starts, self.gaps, held, moves, starts, gaps, found)
        return self._with(starts, gaps[:count].copy(), found[:count].copy())

    def _held(self) -> Unsigned:
        """Returns the codes, or the bits of the values."""
        return self.codes if len(self.codes) else self.values.view(np.uint32)

    def _with(self, starts: NDArray[np.int32], gaps: NDArray[np.uint8], held: Unsigned) -> SparseRows:
        if len(self.codes):
            return self._replace(starts=starts, gaps=gaps, codes=held)
        return self._replace(starts=starts, gaps=gaps, values=held.view(np.float32))


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
        self._gaps: list[Unsigned] = []
        self._values: list[Unsigned] = []  # codes, or bits once there are too many
        self._table = np.zeros(SIZE, np.uint32), np.full(SIZE, -1, np.int64), np.zeros(_MOST_VALUES, np.uint32)
        self._known = self._number(np.zeros(1, np.uint32), np.zeros(1, np.uint8), 0)

    @property
    def nbytes(self) -> int:
        """Bytes of the entries so far."""
        return sum(array.nbytes for array in (*self._gaps, *self._values))

    def append(self, bits: NDArray[np.uint32]) -> None:
        """Appends the next values, float32 by their bits."""
        carried = int(self._state[loops.COLUMN] - self._state[loops.LAST])
        most = int(np.count_nonzero(bits)) + (len(bits) + carried) // loops.LARGEST_GAP + 1
        gaps, found = np.empty(most, np.uint8), np.empty(most, np.uint32)
        count = loops.entries(bits, _SIGN, self._columns, self._state, self._counts, gaps, found)
        values = self._numbered(found[:count])
        self._gaps.append(gaps[:count].copy())
        self._values.append(values)

    def finish(self) -> SparseRows:
        """Returns the matrix."""
        starts, gaps = _starts(self._counts), _joined(self._gaps, np.uint8)
        if self._known < 0:
            return SparseRows(starts, gaps, np.zeros(0, np.uint8), _joined(self._values, np.uint32).view(np.float32))
        values = self._table[2][: self._known if len(gaps) else 0].copy().view(np.float32)
        return SparseRows(starts, gaps, _joined(self._values, np.uint8), values)

    def _numbered(self, found: NDArray[np.uint32]) -> Unsigned:
        """Returns the codes of values, or their bits if these are too many."""
        if self._known >= 0:
            codes = np.empty(len(found), np.uint8)
            known = self._number(found, codes, self._known)
            if known >= 0:
                self._known = known
                return codes
            self._known = -1
            self._values = [self._table[2][each] for each in self._values]
        return found.copy()

    def _number(self, found: NDArray[np.uint32], codes: NDArray[np.uint8], known: int) -> int:
        return int(loops.number(found, *self._table, known, codes))


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    starts = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=starts[1:])
    return starts


def _joined(pieces: list[Unsigned], kind: type[np.unsignedinteger]) -> Unsigned:
    """Returns the pieces as one array, and frees them one by one."""
    found: Unsigned = np.empty(sum(map(len, pieces)), kind)
    at = 0
    while pieces:
        piece = pieces.pop(0)
        found[at : at + len(piece)] = piece
        at += len(piece)
    return found
