"""One arithmetic-coded stream, written or read: several models may follow one another in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from demitasse.packed.kernels import arithmetic
from demitasse.packed.kernels.text import text
from demitasse.packed.kernels.weights import Layout, weights

Array = np.ndarray[Any, np.dtype[Any]]

# no decision costs more: the least probability is 2^-16
_BYTES_A_DECISION = 2
# for what is held back, and the end
_SPARE = 64


class Stream:
    """A stream of decisions.

    Args:
        data: what is read; None to write.
    """

    def __init__(self, data: bytes | None = None) -> None:
        self.writing = data is None
        self._state = np.zeros(arithmetic.STATE, np.int64)
        self._data = np.zeros(64, np.uint8) if data is None else np.frombuffer(data, np.uint8).copy()
        arithmetic.start(self._state, self._data, self.writing)

    def text(self, values: Array, begin: int, width: int, bits: int) -> None:
        """Codes bytes; see :func:`demitasse.packed.kernels.text.text`."""
        self._reserve(8 * len(values))
        text(values, begin, width, bits, self._state, self._data)

    def weights(self, symbols: Array, layout: Layout, before: Array, in_rows: Array) -> None:
        """Codes a matrix; see :func:`demitasse.packed.kernels.weights.weights`."""
        self._reserve(symbols.size * (2 + layout.depth))
        weights(symbols, layout, before, in_rows, self._state, self._data)

    def _reserve(self, decisions: int) -> None:
        """Makes room for so many decisions behind what is written."""
        if self.writing:
            used = int(self._state[arithmetic.POSITION] + self._state[arithmetic.PENDING])
            self._data = np.concatenate([self._data[:used], np.zeros(_SPARE + _BYTES_A_DECISION * decisions, np.uint8)])

    def close(self) -> bytes:
        """Returns what was written."""
        self._reserve(0)
        return self._data[: arithmetic.finish(self._state, self._data)].tobytes()
