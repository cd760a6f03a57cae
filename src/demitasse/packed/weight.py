"""A weight of which only the nonzero values are kept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from demitasse.packed.sparse import NO_FACTOR, Floats, SparseRows


class Form(NamedTuple):
    """What a matrix is brought into the form for.

    Attributes:
        groups: groups of the layer, of which each sees its own inputs: the columns are those of all groups' inputs.
        chunks: 0 if the matrix is by rows; else it is by columns, those of the first chunk of outputs, then of the
            next. Outputs ``chunk * outputs // chunks`` and on are those of a chunk.
    """

    groups: int = 1
    chunks: int = 0


ROWS = Form()


class Matrix:
    """A sparse matrix that is kept in one form, the one that was asked for last.

    Args:
        rows: number of rows.
        columns: number of columns.
        held: the matrix.
        form: its form.

    Attributes:
        rows: number of rows.
        columns: number of columns.
        kept: number of values that are not zero.
        current: its form, and the matrix in that form.
    """

    def __init__(self, rows: int, columns: int, held: SparseRows, form: Form = ROWS) -> None:
        self.rows, self.columns = rows, columns
        self.kept = held.kept()
        self.current = form, held

    def formed(self, form: Form) -> SparseRows:
        """Returns the matrix in a form, and keeps it so from now on."""
        if self.current[0] != form:
            held = self.plain()
            if form.groups > 1:
                held = held.moved(self._moves(form.groups))
            if form.chunks:
                held = held.transposed(*self._blocks(form.chunks), form.chunks * self.columns)
            self.current = form, held
        return self.current[1]

    def plain(self) -> SparseRows:
        """Returns the matrix by rows."""
        form, held = self.current
        if form.chunks:
            outputs, lines = self._blocks(form.chunks)
            held = held.transposed([*lines, form.chunks * self.columns], outputs[:-1], self.rows)
        return held.moved(-self._moves(form.groups)) if form.groups > 1 else held

    def _moves(self, groups: int) -> NDArray[np.int64]:
        """Returns by how many columns each row of a layer with groups is moved."""
        return np.arange(self.rows, dtype=np.int64) * groups // max(self.rows, 1) * self.columns

    def _blocks(self, chunks: int) -> tuple[list[int], list[int]]:
        """Returns the first row of each chunk and the end, and of each chunk the line where its columns begin."""
        bounds = [chunk * self.rows // chunks for chunk in range(chunks + 1)]
        return bounds, [chunk * self.columns for chunk in range(chunks)]


class PackedWeight:
    """A float32 weight, (outputs, ...), as a sparse matrix with a row for each output, and a factor for each row.

    Args:
        shape: of the weight.
        matrix: the matrix; the axes after the first are its columns. Weights that differ in their factors share it.
        factor: (outputs,), or (0,) for none.

    Attributes:
        dtype: float32.
        shape: of the weight.
        matrix: the matrix.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, shape: tuple[int, ...], matrix: Matrix, factor: Floats = NO_FACTOR) -> None:
        self.shape = shape
        self.matrix = matrix
        self._factor = factor

    @classmethod
    def of_rows(cls, shape: tuple[int, ...], rows: SparseRows) -> PackedWeight:
        """Returns the weight of a matrix by rows."""
        return cls(shape, Matrix(shape[0], int(np.prod(shape[1:], dtype=np.int64)), rows))

    @property
    def size(self) -> int:
        """The number of values."""
        return self.matrix.rows * self.matrix.columns

    @property
    def kept(self) -> int:
        """The number of values that are not zero."""
        return self.matrix.kept

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.matrix.current[1].nbytes + self._factor.nbytes

    def rows(self, groups: int = 1) -> SparseRows:
        """Returns the matrix by rows; see :class:`Form`."""
        return self.matrix.formed(Form(groups))._replace(factor=self._factor)

    def columns(self, chunks: int) -> SparseRows:
        """Returns the matrix by columns; see :class:`Form`."""
        return self.matrix.formed(Form(1, chunks))._replace(factor=self._factor)

    def array(self) -> Floats:
        """Returns the weight as it is where nothing is packed."""
        rows = self.matrix.plain()._replace(factor=self._factor)
        return rows.dense(self.matrix.columns).reshape(self.shape)

    def scaled(self, factor: NDArray[np.float64]) -> PackedWeight:
        """Returns the weight times a factor for each output, (outputs,); its codes stay."""
        factor = factor * self._factor if len(self._factor) else factor
        return PackedWeight(self.shape, self.matrix, factor.astype(np.float32))
