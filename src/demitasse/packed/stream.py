"""One arithmetic-coded stream, written or read: several models may follow one another in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from demitasse.packed import kernels
from demitasse.packed.tables import tables

Array = np.ndarray[Any, np.dtype[Any]]

# no decision costs more: the least probability is 2^-16
_BYTES_A_DECISION = 2


class Stream:
    """A stream of decisions.

    Args:
        data: what is read; None to write.
    """

    def __init__(self, data: bytes | None = None) -> None:
        self.writing = data is None
        self._state = np.zeros(kernels.STATE, np.int64)
        self._data = np.zeros(64, np.uint8) if data is None else np.frombuffer(data, np.uint8).copy()
        kernels.start(self._state, self._data, self.writing)

    def text(self, values: Array, begin: int, width: int, bits: int, mixer: Array, settings: Array) -> None:
        """Codes bytes; see :func:`demitasse.packed.kernels.text`."""
        self._reserve(8 * len(values))
        kernels.text(values, begin, width, bits, mixer, settings, self._state, self._data, tables())

    def weights(
        self,
        symbols: Array,
        counts: Array,
        geometry: tuple[int, int, int, int],
        before: Array,
        coding: tuple[int, bool, bool],
        mixer: Array,
        settings: Array,
    ) -> None:
        """Codes a matrix of weights; see :func:`demitasse.packed.kernels.weights`.

        Args:
            symbols: row by row.
            counts: filled.
            geometry: rows, columns, group, side.
            before: numbers by unit of the matrix before.
            coding: depth, signed, zeros.
            mixer: first weights.
            settings: of the model.
        """
        self._reserve(symbols.size * (2 + coding[0]))
        kernels.weights(symbols, *geometry, before, *coding, mixer, settings, self._state, self._data, counts, tables())

    def _reserve(self, decisions: int) -> None:
        if self.writing:
            room = int(self._state[kernels.POSITION] + self._state[kernels.PENDING]) + 64
            self._data = np.concatenate([self._data, np.zeros(room + _BYTES_A_DECISION * decisions, np.uint8)])

    def close(self) -> bytes:
        """Returns what was written."""
        self._reserve(0)
        return self._data[: kernels.finish(self._state, self._data)].tobytes()
