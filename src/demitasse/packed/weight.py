"""A weight of which only the nonzero values are kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from demitasse.packed.sparse import Floats, SparseRows


class PackedWeight:
    """A float32 weight, (outputs, ...), as a sparse matrix with a row for each output.

    It is kept in one form, the one that was asked for last, and brought into others when they are asked for.

    Args:
        shape: of the weight.
        matrix: the matrix; the axes after the first are its columns.
        form: number of groups and of chunks that the matrix is for; 0 chunks where it is by rows.

    Attributes:
        dtype: float32.
        shape: of the weight.
        kept: number of values that are not zero.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, shape: tuple[int, ...], matrix: SparseRows, form: tuple[int, int] = (1, 0)) -> None:
        self.shape = shape
        self.kept = matrix.kept()
        self._held = form, matrix

    @property
    def size(self) -> int:
        """The number of values."""
        return self.shape[0] * self._columns

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self._held[1].nbytes

    @property
    def _columns(self) -> int:
        return int(np.prod(self.shape[1:], dtype=np.int64))

    def rows(self, groups: int = 1) -> SparseRows:
        """Returns the matrix of a layer with groups, (outputs, inputs of all groups), as rows."""
        return self._formed(groups, 0)

    def columns(self, chunks: int) -> SparseRows:
        """Returns the columns of the matrix, each of the first chunk of outputs, then of the next.

        Outputs ``chunk * outputs // chunks`` and on are those of a chunk.
        """
        return self._formed(1, chunks)

    def array(self) -> Floats:
        """Returns the weight as it is where nothing is packed."""
        return _plain(*self._held, *self._matrix()).dense(self._columns).reshape(self.shape)

    def scaled(self, factor: NDArray[np.float64]) -> PackedWeight:
        """Returns the weight times a factor for each output, (outputs,); its codes stay."""
        form, held = self._held
        factor = factor * held.factor if len(held.factor) else factor
        return PackedWeight(self.shape, held._replace(factor=factor.astype(np.float32)), form)

    def _matrix(self) -> tuple[int, int]:
        return self.shape[0], self._columns

    def _formed(self, groups: int, chunks: int) -> SparseRows:
        form, held = self._held
        if form == (groups, chunks):
            return held
        rows, columns = self._matrix()
        found = _plain(form, held, rows, columns)
        if groups > 1:
            found = found.moved(_moves(groups, rows, columns))
        if chunks:
            found = found.transposed(*_blocks(chunks, rows, columns), chunks * columns)
        self._held = (groups, chunks), found
        return found


def _plain(form: tuple[int, int], held: SparseRows, rows: int, columns: int) -> SparseRows:
    """Returns the matrix, (rows, columns), as rows."""
    groups, chunks = form
    if groups > 1:
        return held.moved(-_moves(groups, rows, columns))
    if chunks:
        outputs, lines = _blocks(chunks, rows, columns)
        return held.transposed([*lines, chunks * columns], outputs[:-1], rows)
    return held


def _moves(groups: int, rows: int, columns: int) -> NDArray[np.int64]:
    """Returns by how many columns each row of a layer with groups is moved."""
    return np.arange(rows, dtype=np.int64) * groups // max(rows, 1) * columns


def _blocks(chunks: int, rows: int, columns: int) -> tuple[list[int], list[int]]:
    """Returns the first row of each chunk, and of all chunks' columns the first."""
    return [chunk * rows // chunks for chunk in range(chunks + 1)], [chunk * columns for chunk in range(chunks)]
