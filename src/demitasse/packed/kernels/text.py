"""The model of bytes: text, or numbers of ``width`` bytes, the most significant byte first."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from demitasse.arrays import Array
from demitasse.loops import njit
from demitasse.packed.kernels.arithmetic import STATE, code
from demitasse.packed.kernels.mixing import SEEN, learn, mix

# initial weights of the mixer: orders 0 to 4, the same byte of the previous number, and that with the previous byte
_WEIGHTS = np.array([[13107, 16384, 19661, 19661, 19661, 6554, 13107]] * 5)
_SLOTS = 7
_ORDERS = 5
_HASH = 0x9E3779B1
# numpy integers, since plain ones would be compiled in, with one loop for each set of values
_BASE, _PACE, _EASE, _LIMIT = map(np.int64, (0, 4_194, 0, 250))


class TextMemory(NamedTuple):
    """What the model has learned.

    Attributes:
        memory: all slots.
        slots: buffer for the slots of a decision, as indices in ``memory``.
        inputs: buffer for the logits of a decision.
        weights: weights of the mixer.
    """

    memory: Array
    slots: Array
    inputs: Array
    weights: Array


def fresh(bits: int) -> TextMemory:
    """Returns the memory of an untrained model, with 2^bits slots for every context."""
    slots, inputs = np.zeros(_SLOTS, np.int64), np.zeros(_SLOTS, np.int64)
    return TextMemory(np.zeros(_SLOTS << bits, np.uint32), slots, inputs, _WEIGHTS.copy())


def primed(prefix: bytes, width: int, bits: int) -> TextMemory:
    """Returns the memory of a model trained on bytes that both sides know."""
    places, learnt = _learnt(prefix, width, bits)
    made = fresh(bits)
    made.memory[places] = learnt.memory
    return TextMemory(made.memory, *(array.copy() for array in learnt[1:]))


@lru_cache(4)
def _learnt(prefix: bytes, width: int, bits: int) -> tuple[Array, TextMemory]:
    """Returns which slots were used, and the memory with these slots only: few of them are."""
    made, count, nothing = fresh(bits), len(prefix), np.zeros(0, np.uint8)
    values = np.frombuffer(prefix, np.uint8).copy()
    text(values, 0, count, count, width, bits, *made, np.zeros(STATE, np.int64), nothing)
    places = np.flatnonzero(made.memory)
    return places, made._replace(memory=made.memory[places])


@njit()
def text(values, first, last, begin, width, bits, memory, slots, inputs, weights, state, data):
    """Codes the bytes ``first:last``; both sides know those before ``begin``, which only train the model.

    Args:
        values: all bytes; filled when decoding.
        first: the first byte to code now.
        last: the end of the bytes to code now.
        begin: the first byte that is coded at all.
        width: number of bytes of a number; 1 for text.
        bits: every context has 2^bits slots.
        memory: see :class:`TextMemory`.
        slots: see :class:`TextMemory`.
        inputs: see :class:`TextMemory`.
        weights: see :class:`TextMemory`.
        state: the state of the arithmetic coder.
        data: the bytes that the arithmetic coder writes or reads.
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
            # the longest order with observations chooses the weights
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
