"""A binary arithmetic coder: its state, and the bytes that it writes or reads.

Reference: Martin 1979, Range encoding: an algorithm for removing redundancy from a digitised message.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import FileFormatError
from demitasse.loops import inner, njit

LOW, RANGE, CODE, HELD, PENDING, POSITION, ENCODE, END, COST = range(9)
STATE = 9
# the cost of a decision of probability k / 4096, in 1/4096 bit; only for reports
UNIT = 4096
_COST = np.round(-UNIT * np.log2(np.maximum(np.arange(UNIT + 1), 0.5) / UNIT)).astype(np.int64)


@inner
def _shift(state, data):
    """Moves one byte out of low; holds back a byte that a carry may still change, and the 255s after it."""
    low = state[LOW]
    if low < 0xFF000000 or low > 0xFFFFFFFF:
        carry = low >> 32
        if state[PENDING] > 0:
            # the first byte is always 0 and is omitted
            if state[HELD] >= 0:
                data[state[POSITION]] = (state[HELD] + carry) & 255
                state[POSITION] += 1
            for _ in range(state[PENDING] - 1):
                data[state[POSITION]] = (255 + carry) & 255
                state[POSITION] += 1
        state[PENDING] = 0
        state[HELD] = (low >> 24) & 255
    state[PENDING] += 1
    state[LOW] = (low & 0x00FFFFFF) << 8


@inner
def _next(state, data):
    """Returns the next byte, or 0 after the end."""
    position = state[POSITION]
    state[POSITION] = position + 1
    return int(data[position]) if position < state[END] else 0


def start(state: Array, data: Array, encode: bool) -> None:
    """Begins a stream, for writing or for reading.

    Raises:
        FileFormatError: the stream begins with bytes that no encoder writes.
    """
    state[:] = 0
    state[RANGE] = 0xFFFFFFFF
    state[HELD] = -1
    state[PENDING] = 1
    state[ENCODE] = encode
    # zeros at the end have no effect
    state[END] = len(data) if encode else len(data.tobytes().rstrip(b"\0"))
    if not encode:
        state[CODE] = int.from_bytes(data[:4].tobytes().ljust(4, b"\0"), "big")
        state[POSITION] = 4
        if state[CODE] == state[RANGE]:
            raise FileFormatError("found four bytes of 255 first, with which no stream begins: the file is corrupt")


@njit()
def finish(state, data):
    """Ends an encoded stream with as few bytes as possible; returns its length."""
    low, last = state[LOW], state[LOW] + state[RANGE] - 1
    for kept in range(5):
        mask = (np.int64(1) << (32 - 8 * kept)) - 1
        value = (low + mask) & ~mask
        if value <= last:
            state[LOW] = value
            break
    for _ in range(5):
        _shift(state, data)
    end = state[POSITION]
    while end > 0 and data[end - 1] == 0:
        end -= 1
    return int(end)


@inner
def code(state, data, probability, bit):
    """Codes one bit; ``probability`` is that of a 1, in 1/65536."""
    bound = (state[RANGE] >> 16) * probability
    if state[ENCODE]:
        if bit:
            state[RANGE] = bound
        else:
            state[LOW] += bound
            state[RANGE] -= bound
        while state[RANGE] < 0x1000000:
            state[RANGE] <<= 8
            _shift(state, data)
        return bit
    if state[CODE] < bound:
        bit = 1
        state[RANGE] = bound
    else:
        bit = 0
        state[CODE] -= bound
        state[RANGE] -= bound
    while state[RANGE] < 0x1000000:
        state[RANGE] <<= 8
        state[CODE] = state[CODE] << 8 | _next(state, data)
    state[COST] += _COST[(probability if bit else 65536 - probability) >> 4]
    return bit
