"""Mixing of probabilities in the logistic domain.

A context has a slot: 22 bits of a probability, and in the lowest 10 bits the number of observations. A decision has a
slot for every kind of context, and a row of weights, in 1/65536, for the weighted sum of its inputs.

Reference: Mahoney 2005, Adaptive weighing of context models for lossless data compression (Florida Tech CS-2005-16).
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import numpy as np

from demitasse.arrays import Array
from demitasse.loops import inner
from demitasse.packed.kernels.tables import LARGEST, UNIT, tables

SQUASH, STRETCH, LOG, RATE = tables()
# the bits of a slot with the number of observations
SEEN = 1023


@inner
def squash(x):
    """Returns the probability of a logit."""
    return int(SQUASH[0 if x < -LARGEST else 2 * LARGEST if x > LARGEST else x + LARGEST])


@inner
def logit(slot):
    """Returns the logit of a slot's probability."""
    probability = (slot & 0xFFFFFFFF) >> 16
    return int(STRETCH[probability if probability else 1])


@inner
def mix(slots, memory, inputs, weights, base):
    """Returns the probability of a 1: the weighted sum of the inputs, relative to the logit ``base``.

    An unused slot starts at ``base``. The model itself fills the inputs after those of the slots.

    Args:
        slots: indices in ``memory``.
        memory: the slots of all contexts.
        inputs: filled with the logits of the slots, relative to ``base``.
        weights: the weights of the inputs.
        base: the logit that all probabilities are relative to.
    """
    fresh = squash(base) << 16
    for j in range(len(slots)):
        slot = slots[j]
        if not memory[slot] & SEEN:
            memory[slot] = fresh
        inputs[j] = logit(memory[slot]) - base
    total = 0
    for j in range(len(inputs)):
        total += weights[j] * inputs[j]
    return squash(base + (total >> 16))


@inner
def learn(slots, memory, inputs, weights, probability, bit, pace, ease, limit):
    """Moves the weights down the gradient of the code length, and the slots towards the bit.

    Args:
        slots: see :func:`mix`.
        memory: see :func:`mix`.
        inputs: see :func:`mix`.
        weights: see :func:`mix`.
        probability: the mixed probability.
        bit: the bit that was coded.
        pace: learning rate of the weights, in 2^-20.
        ease: number of observations that a slot starts with.
        limit: number of observations after which a slot keeps its rate, at most 1,023 minus ``ease``.
    """
    error = ((bit << 16) - probability) * pace
    for j in range(len(inputs)):
        weights[j] += (error * inputs[j] + (1 << 29)) >> 30
    for j in range(len(slots)):
        slot = memory[slots[j]] & 0xFFFFFFFF
        n, estimate = slot & SEEN, slot >> 10
        estimate += (((bit << 22) - estimate) * RATE[n + ease]) >> 16
        memory[slots[j]] = estimate << 10 | (n + 1 if n < limit else n)


@inner
def log(x):
    """Returns the natural logarithm of a positive integer in 1 / UNIT."""
    bits = 0
    y = x
    if y >= 1 << 32:
        y >>= 32
        bits += 32
    if y >= 1 << 16:
        y >>= 16
        bits += 16
    if y >= 1 << 8:
        y >>= 8
        bits += 8
    while y > 1:
        y >>= 1
        bits += 1
    fraction = x >> (bits - 10) if bits >= 10 else x << (10 - bits)
    # 726817 / 1024 is the logarithm of 2
    return int(LOG[fraction - UNIT]) + ((bits * 726817) >> 10)


def logs(numbers: Array) -> Array:
    """Returns :func:`log` of positive integers below 2^53."""
    bits = np.frexp(numbers)[1].astype(np.int64) - 1
    fractions = (numbers << np.maximum(10 - bits, 0) >> np.maximum(bits - 10, 0)) - UNIT
    found: Array = LOG[fractions] + ((bits * 726817) >> 10)
    return found


@inner
def level(x):
    """Returns a logarithm in steps of half a power of two, 0 .. 15, where 8 is a ratio of 1."""
    return min(15, max(0, 8 + ((x * 2954 + (1 << 19)) >> 20)))


@inner
def step(count):
    """Returns a count on a logarithmic scale, 0 .. 15."""
    if count < 4:
        return count
    bits = 0
    y = count
    while y >= 4:
        y >>= 1
        bits += 1
    return min(15, 2 * bits + y)
