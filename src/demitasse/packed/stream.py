"""One payload, written or read: decisions that several models code one after the other, or plain bytes."""

from __future__ import annotations

import math
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
_COST_OF_BYTE = 8 * arithmetic.UNIT


class Stream:
    """A stream of decisions, or, of a codec that has it for itself, of bytes.

    Args:
        data: what is read; None to write.

    Attributes:
        spent: bytes that positions and values have taken so far, when reading.
    """

    def __init__(self, data: bytes | None = None) -> None:
        self.writing = data is None
        self._bytes = data or b""
        self.spent = np.zeros(2)
        self._state: Array | None = None
        self._data = np.zeros(0, np.uint8)

    def put(self, data: bytes) -> None:
        """Writes bytes, and nothing else."""
        self._bytes = data

    def take(self) -> bytes:
        """Returns all bytes."""
        return self._bytes

    def text(self, values: Array, begin: int, width: int, bits: int) -> None:
        """Codes bytes; see :func:`demitasse.packed.kernels.text.text`."""
        state = self._begin(8 * len(values))
        before = state[arithmetic.COST]
        text(values, begin, width, bits, state, self._data)
        self.spent[1] += (state[arithmetic.COST] - before) / _COST_OF_BYTE

    def weights(self, symbols: Array, layout: Layout, before: Array, in_rows: Array) -> None:
        """Codes a matrix; see :func:`demitasse.packed.kernels.weights.weights`."""
        state = self._begin(symbols.size * (2 + layout.depth))
        costs = np.zeros(2, np.int64)
        weights(symbols, layout, before, in_rows, costs, state, self._data)
        self.spent += costs / _COST_OF_BYTE

    def _begin(self, decisions: int) -> Array:
        """Returns the state of the coder; makes room for so many decisions behind what is written."""
        if self._state is None:
            self._state = np.zeros(arithmetic.STATE, np.int64)
            self._data = np.zeros(_SPARE, np.uint8) if self.writing else np.frombuffer(self._bytes, np.uint8).copy()
            arithmetic.start(self._state, self._data, self.writing)
        if self.writing:
            used = int(self._state[arithmetic.POSITION] + self._state[arithmetic.PENDING])
            self._data = np.concatenate([self._data[:used], np.zeros(_SPARE + _BYTES_A_DECISION * decisions, np.uint8)])
        return self._state

    @property
    def bits(self) -> float:
        """What was written so far, to fractions of a bit."""
        if self._state is None:
            return 8.0 * len(self._bytes)
        whole = self._state[arithmetic.POSITION] + self._state[arithmetic.PENDING]
        return 8 * float(whole) - math.log2(self._state[arithmetic.RANGE])

    def close(self) -> bytes:
        """Returns what was written."""
        if self._state is None:
            return self._bytes
        state = self._begin(0)
        return self._data[: arithmetic.finish(state, self._data)].tobytes()
