"""The model of bytes: text, and numbers of ``width`` bytes each, the byte that matters most first."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from demitasse.loops import njit
from demitasse.packed.kernels.arithmetic import STATE, code
from demitasse.packed.kernels.mixing import SEEN, learn, mix

# first weights of the mixer, for orders 0 to 4, the same byte of the number before, and that with the byte before
_WEIGHTS = np.array([[13107, 16384, 19661, 19661, 19661, 6554, 13107]] * 5)
_SLOTS = 7
_ORDERS = 5
_HASH = 0x9E3779B1
# memories of up to 7 * 4 * 2^16 bytes are kept
_SMALL = 16
# plain integers would be compiled in, one loop for each set of them
_BASE, _PACE, _EASE, _LIMIT = map(np.int64, (0, 4_194, 0, 250))

Array = np.ndarray[Any, np.dtype[Any]]


class TextMemory(NamedTuple):
    """What the model has learnt.

    Attributes:
        memory: of all slots.
        slots: room for the places in it of a decision.
        inputs: room for the logits of a decision.
        weights: of the mixer.
    """

    memory: Array
    slots: Array
    inputs: Array
    weights: Array


def fresh(bits: int) -> TextMemory:
    """Returns the memory of a model that has seen nothing, with 2^bits slots for every context."""
    slots, inputs = np.zeros(_SLOTS, np.int64), np.zeros(_SLOTS, np.int64)
    return TextMemory(np.zeros(_SLOTS << bits, np.uint32), slots, inputs, _WEIGHTS.copy())


def primed(prefix: bytes, width: int, bits: int) -> TextMemory:
    """Returns the memory of a model that has learnt from bytes which both sides know."""
    learnt = _learnt if bits <= _SMALL else _learnt.__wrapped__
    return TextMemory(*(array.copy() for array in learnt(prefix, width, bits)))


@lru_cache(4)
def _learnt(prefix: bytes, width: int, bits: int) -> TextMemory:
    memory, count, nothing = fresh(bits), len(prefix), np.zeros(0, np.uint8)
    values = np.frombuffer(prefix, np.uint8).copy()
    text(values, 0, count, count, width, bits, *memory, np.zeros(STATE, np.int64), nothing)
    return memory


@njit()
def text(values, first, last, begin, width, bits, memory, slots, inputs, weights, state, data):
    """Codes bytes ``first:last``; what is before ``begin`` is known to both sides and only primes the model.

    Args:
        values: all bytes; filled when decoding.
        first: of those to be coded now.
        last: behind them.
        begin: of those that are coded at all.
        width: bytes of a number; 1 for text.
        bits: 2^bits slots for every context.
        memory: see :class:`TextMemory`, as are the next three.
        state: of the arithmetic coder, with its data.
    """
    for i in range(first, last):
        place = i % width
        one = values[i - 1] & 255 if i else 0
        two = values[i - 2] & 255 if i > 1 else 0
        three = values[i - 3] & 255 if i > 2 else 0
        four = values[i - 4] & 255 if i > 3 else 0
        same = values[i - width] & 255 if i >= width else 0
        context = (
            place,
            place + 8 * (one + 1),
            place + 8 * (one + 256 * two + 1),
            place + 8 * (one + 256 * two + 65536 * three + 1),
            place + 8 * (one + 256 * two + 65536 * three + (four << 24) + 1),
            place + 8 * (same + 1),
            place + 8 * (same + 256 * one + 1),
        )
        byte, node = values[i] & 255, 1
        for level in range(8):
            # the longest order that was seen before chooses the weights
            longest = 0
            for j in range(_SLOTS):
                mixed = ((context[j] << 8 | node) * _HASH) & 0xFFFFFFFF
                slot = (j << bits) + ((mixed ^ mixed >> 15) & ((1 << bits) - 1))
                slots[j] = slot
                if j < _ORDERS and memory[slot] & SEEN:
                    longest = j
            p = mix(slots, memory, inputs, weights[longest], _BASE)
            bit = byte >> (7 - level) & 1
            if i >= begin:
                bit = code(state, data, p, bit)
            learn(slots, memory, inputs, weights[longest], p, bit, _PACE, _EASE, _LIMIT)
            node = 2 * node + bit
        values[i] = node & 255
