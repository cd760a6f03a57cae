"""Finds the distinct values of an array, and the index of each entry among them."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import numpy as np

from demitasse.loops import inner, njit

_BITS = 14
SIZE = 1 << _BITS
_HASH = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(64 - _BITS)


@inner
def slot_of(keys, numbers, value):
    """Returns the slot of a value in a hash table: its own, or an empty one (number -1)."""
    slot = np.int64((np.uint64(value) * _HASH) >> _SHIFT)
    while numbers[slot] >= 0 and keys[slot] != value:
        slot = (slot + 1) & (SIZE - 1)
    return slot


@njit()
def distinct(values, most):
    """Returns the distinct values in the order in which they occur; stops after ``most`` + 1.

    Args:
        values: unsigned integers.
        most: at most half of 2^14.
    """
    keys, numbers = np.zeros(SIZE, values.dtype), np.full(SIZE, -1, np.int64)
    found = np.zeros(most + 1, values.dtype)
    count = 0
    for value in values:
        slot = slot_of(keys, numbers, value)
        if numbers[slot] < 0:
            keys[slot], numbers[slot], found[count] = value, count, value
            count += 1
            if count > most:
                break
    return found[:count]


@njit()
def places(values, known):
    """Returns the index of each value among the known ones, which are distinct; 0 for other values."""
    keys, numbers = np.zeros(SIZE, known.dtype), np.full(SIZE, -1, np.int64)
    for place in range(len(known)):
        slot = slot_of(keys, numbers, known[place])
        if numbers[slot] < 0:
            keys[slot], numbers[slot] = known[place], place
    out = np.zeros(len(values), np.uint16)
    for i in range(len(values)):
        out[i] = max(0, numbers[slot_of(keys, numbers, values[i])])
    return out
