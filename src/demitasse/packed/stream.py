"""One payload, written or read: decisions that several models code one after the other, or plain bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import CancelledError
from threading import Event
from typing import Any

import numpy as np

from demitasse.errors import FileFormatError
from demitasse.packed.kernels import arithmetic, text, weights
from demitasse.packed.kernels.weights import MatrixLayout

Array = np.ndarray[Any, np.dtype[Any]]

# no decision costs more: the least probability is 2^-16
_BYTES_A_DECISION = 2
# for what is held back, and the end
_SPARE = 64
_COST_OF_BYTE = 8 * arithmetic.UNIT
# what is coded at once, in some hundredths of a second: in between, Python sees signals, and others may stop it
_BYTES, _WEIGHTS, _SYMBOLS = 1 << 11, 1 << 14, 1 << 22
# bytes behind the end of a stream that a reader takes for zeros: an encoder that has values left has bytes left
_MOST_BEHIND = 64


class Stream:
    """A stream of decisions, or, of a codec that has it for itself, of bytes.

    Args:
        data: what is read; None to write.
        stop: ends coding between two pieces once it is set, with a CancelledError.

    Attributes:
        spent: bytes that positions and values have taken so far, when reading.
    """

    def __init__(self, data: bytes | None = None, stop: Event | None = None) -> None:
        self.writing = data is None
        self._stop = stop
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
        """Codes bytes; see :func:`demitasse.packed.kernels.text.text`.

        Raises:
            FileFormatError: the stream ends before the bytes do.
        """
        state = self._begin(8 * len(values))
        before = state[arithmetic.COST]
        memory = text.primed(values[:begin].tobytes(), width, bits) if begin else text.fresh(bits)
        for first, last in self.pieces(len(values) - begin, _BYTES):
            if self._all_ones():
                values[begin + first :] = 255
                break
            text.text(values, begin + first, begin + last, begin, width, bits, *memory, state, self._data)
        self.spent[1] += (state[arithmetic.COST] - before) / _COST_OF_BYTE

    def weights(self, symbols: Array, layout: MatrixLayout, before: Array) -> None:
        """Codes a matrix.

        Args:
            symbols: rows * columns of them, row by row: 0 for zero, else 1 + code; filled when reading.
            layout: see :class:`demitasse.packed.kernels.weights.MatrixLayout`.
            before: weights that are not zero of each unit that the columns come from; empty if not known.

        Raises:
            FileFormatError: the bytes end before the weights do.
        """
        state = self._begin(symbols.size * (2 + layout.depth))
        costs = np.zeros(2, np.int64)
        memory = weights.fresh(layout, before)
        for first, last in self.pieces(symbols.size, _WEIGHTS):
            if layout.constant or self._all_ones():
                symbols[first:] = layout.last
                break
            weights.weights(symbols, first, last, layout, *memory, costs, state, self._data)
        self.spent += costs / _COST_OF_BYTE

    def pieces(self, count: int, size: int = _SYMBOLS) -> Iterator[tuple[int, int]]:
        """Yields begin and end of pieces of so many values; what takes long is done in them.

        Raises:
            CancelledError: what is done here is not needed any more.
        """
        for begin in range(0, count, size):
            if self._stop is not None and self._stop.is_set():
                raise CancelledError
            yield begin, min(begin + size, count)

    def _all_ones(self) -> bool:
        """Returns whether all decisions to come are ones, as they are behind the end of a stream that adds up.

        Raises:
            FileFormatError: it is so far behind the end that the stream does not.
        """
        assert self._state is not None
        behind = self._state[arithmetic.POSITION] - self._state[arithmetic.END]
        if self.writing or behind < 0:
            return False
        if self._state[arithmetic.CODE] == 0:
            return True
        if behind > _MOST_BEHIND:
            raise FileFormatError("its bytes end before its values do: the file is corrupt")
        return False

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
