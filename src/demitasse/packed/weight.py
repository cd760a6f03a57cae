"""A weight of which only the nonzero values are kept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from demitasse.packed.sparse import NO_FACTOR, Floats, SparseRows


class Form(NamedTuple):
    """What a matrix is brought into the form for.

    Attributes:
        panel: 0, or columns of a panel: all rows of the first panel come first, then those of the next.
        chunks: 0 if the matrix is by rows; else it is by columns, those of the first chunk of outputs, then of the
            next. Outputs ``chunk * outputs // chunks`` and on are those of a chunk.
    """

    panel: int = 0
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
            if form.panel:
                lines, to = self._panels(form.panel)
                held = self._by_columns(held).transposed(lines, to, len(to) * self.rows)
            if form.chunks:
                held = held.transposed(*self._blocks(form.chunks), form.chunks * self.columns)
            self.current = form, held
        return self.current[1]

    def plain(self) -> SparseRows:
        """Returns the matrix by rows."""
        form, held = self.current
        if form.panel:
            lines, rows = self._panels(form.panel)
            columns = held.transposed([*rows, len(rows) * self.rows], lines[:-1], self.columns)
            return columns.transposed([0, self.columns], [0], self.rows)
        if form.chunks:
            outputs, lines = self._blocks(form.chunks)
            return held.transposed([*lines, form.chunks * self.columns], outputs[:-1], self.rows)
        return held

    def _by_columns(self, held: SparseRows) -> SparseRows:
        return held.transposed([0, self.rows], [0], self.columns)

    def _panels(self, panel: int) -> tuple[list[int], list[int]]:
        """Returns the first column of each panel and the end, and of each panel the line where its rows begin."""
        starts = list(range(0, self.columns, panel))
        return [*starts, self.columns], [index * self.rows for index in range(len(starts))]

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
    def of_rows(cls, shape: tuple[int, ...], rows: SparseRows, factor: Floats = NO_FACTOR) -> PackedWeight:
        """Returns the weight of a matrix by rows, times a factor for each of them."""
        return cls(shape, Matrix(shape[0], int(np.prod(shape[1:], dtype=np.int64)), rows), factor)

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

    def table(self) -> Floats | None:
        """Returns the values that there are, without factors; None if they are too many for codes."""
        held = self.matrix.current[1]
        return held.values if len(held.codes) or not len(held.gaps) else None

    def rows(self, panel: int = 0) -> SparseRows:
        """Returns the matrix by rows; see :class:`Form`."""
        return self.matrix.formed(Form(panel))._replace(factor=self._factor)

    def columns(self, chunks: int) -> SparseRows:
        """Returns the matrix by columns; see :class:`Form`."""
        return self.matrix.formed(Form(0, chunks))._replace(factor=self._factor)

    def array(self) -> Floats:
        """Returns the weight as it is where nothing is packed."""
        rows = self.matrix.plain()._replace(factor=self._factor)
        return rows.dense(self.matrix.columns).reshape(self.shape)

    def scaled(self, factor: NDArray[np.float64]) -> PackedWeight:
        """Returns the weight times a factor for each output, (outputs,); its codes stay."""
        factor = factor * self._factor if len(self._factor) else factor
        return PackedWeight(self.shape, self.matrix, factor.astype(np.float32))
