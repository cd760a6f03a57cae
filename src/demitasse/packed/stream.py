"""One payload, for writing or reading: decisions that several models code in turn, or plain bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import CancelledError
from threading import Event

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import FileFormatError
from demitasse.packed.kernels import arithmetic, text, weights
from demitasse.packed.kernels.weights import MatrixLayout

# a decision costs at most two bytes: the least probability is 2^-16
_BYTES_A_DECISION = 2
# room for bytes that are held back, and for the end
_SPARE = 64
_COST_OF_BYTE = 8 * arithmetic.UNIT
# sizes of pieces that take a few hundredths of a second; between them Python handles signals, and others may stop it
_BYTES, _WEIGHTS, _SYMBOLS = 1 << 11, 1 << 14, 1 << 22
# how many zero bytes a reader may assume after the end of a stream: an encoder with values left has bytes left
_MOST_BEHIND = 64


class Stream:
    """A stream of decisions, or, for a codec with payloads of its own, of bytes.

    Args:
        data: the bytes to read; None to write.
        stop: once it is set, coding raises CancelledError before the next piece.

    Attributes:
        spent: when reading, the bytes used so far by positions and by values, (2,) float64.
    """

    def __init__(self, data: bytes | None = None, stop: Event | None = None) -> None:
        self.writing = data is None
        self._stop = stop
        self._bytes = data or b""
        self.spent = np.zeros(2)
        self._state: Array | None = None
        self._data = np.zeros(0, np.uint8)

    def write_bytes(self, data: bytes) -> None:
        """Writes plain bytes as the whole stream."""
        self._bytes = data

    def read_bytes(self) -> bytes:
        """Returns all bytes of the stream."""
        return self._bytes

    def text(self, values: Array, begin: int, width: int, bits: int) -> None:
        """Codes bytes; see :func:`demitasse.packed.kernels.text.text`.

        Raises:
            FileFormatError: the stream ends too early.
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
            symbols: (rows * columns,), row by row: 0 for zero, else 1 + code; filled when reading.
            layout: see :class:`demitasse.packed.kernels.weights.MatrixLayout`.
            before: number of nonzero weights of each unit that the columns come from; empty if unknown.

        Raises:
            FileFormatError: the stream ends too early.
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
        """Yields begin and end of pieces of ``size`` values, in which long work is done.

        Raises:
            CancelledError: ``stop`` was set.
        """
        for begin in range(0, count, size):
            if self._stop is not None and self._stop.is_set():
                raise CancelledError
            yield begin, min(begin + size, count)

    def _all_ones(self) -> bool:
        """Returns whether all remaining decisions are ones, as after the end of a valid stream.

        Raises:
            FileFormatError: the position is too far after the end for a valid stream.
        """
        assert self._state is not None
        behind = self._state[arithmetic.POSITION] - self._state[arithmetic.END]
        if self.writing or behind < 0:
            return False
        if self._state[arithmetic.CODE] == 0:
            return True
        if behind > _MOST_BEHIND:
            raise FileFormatError("the payload has fewer bytes than its values need: the file is corrupt")
        return False

    def _begin(self, decisions: int) -> Array:
        """Returns the state of the coder, with room for this number of further decisions."""
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
        """The size of what was written so far, in bits and fractions of a bit."""
        if self._state is None:
            return 8.0 * len(self._bytes)
        whole = self._state[arithmetic.POSITION] + self._state[arithmetic.PENDING]
        return 8 * float(whole) - math.log2(self._state[arithmetic.RANGE])

    def close(self) -> bytes:
        """Ends the stream and returns the bytes written."""
        if self._state is None:
            return self._bytes
        state = self._begin(0)
        return self._data[: arithmetic.finish(state, self._data)].tobytes()
