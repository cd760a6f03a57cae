"""Weights by the arithmetic coding of .demi files, with a model that is small enough for any chip.

For every weight a decision says whether it is zero; one more, behind the matrix, says that there is another, so that
whoever looks for the next weight ends there. If a weight is not zero, the bits of its code less one follow: the lowest
one, then the others from the highest down. Each decision has the probability of its context, in 1/65536, which moves by
1/64 towards the bit. The context is whether the weight before was zero too; the lowest bit before; or the other bits of
this code so far.

Reference: Martin 1979, Range encoding: an algorithm for removing redundancy from a digitised message; for probabilities
that learn by shifts, Marpe, Schwarz, Wiegand 2003, Context-based adaptive binary arithmetic coding.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from demitasse.loops import inner, njit
from demitasse.packed.kernels.arithmetic import POSITION, STATE, code, finish, start

Codes = npt.NDArray[np.int64]

# the bits of a code less one at most, without the lowest
MOST_DEPTH = 4
# contexts: weights by the one before, lowest bits by the one before, and the first of the other bits less one
_LOWEST, _OTHERS = 2, 3
_RATE, _HALF = 6, 1 << 15
# a decision takes two bytes at most
_BYTES, _SPARE = 2, 64


class AdaptiveStream(NamedTuple):
    """The coded weights of a layer.

    Attributes:
        content: the bytes, as many as are read.
        depth: number of bits of a code less one, without the lowest.
        share: the probability at first that a weight is not zero, in 1/256.
    """

    content: bytes
    depth: int
    share: int


def contexts(depth: int) -> int:
    """Returns the number of contexts."""
    return _OTHERS + (1 << depth)


def encoded(codes: Codes) -> AdaptiveStream | None:
    """Returns the stream of a matrix of codes; None if there are too many codes.

    A code is 0 for a weight of 0; codes count from 1. The weight before the first one counts as not zero, the lowest
    bit before it as 0.
    """
    depth = int((codes.max(initial=1) - 1) >> 1).bit_length()
    if depth > MOST_DEPTH:
        return None
    share = min(max(round(256 * np.count_nonzero(codes) / codes.size), 1), 255)
    flat = np.append(codes.reshape(-1), 1)
    count = codes.size + 1 + (1 + depth) * int(np.count_nonzero(codes))
    state, data = np.zeros(STATE, np.int64), np.zeros(_BYTES * count + _SPARE, np.uint8)
    start(state, data, True)
    _code(flat, depth, _probabilities(depth, share), state, data)
    content = data[: finish(state, data)]
    start(state, content, False)
    found = np.zeros_like(flat)
    _code(found, depth, _probabilities(depth, share), state, content)
    assert np.array_equal(found, flat)
    # zeros that the end was cut of, since no one looks where it is
    return AdaptiveStream(content.tobytes().ljust(int(state[POSITION]), b"\0"), depth, share)


def _probabilities(depth: int, share: int) -> Codes:
    found = np.full(contexts(depth), _HALF, np.int64)
    found[:_LOWEST] = share << 8
    return found


@njit()
def _code(codes, depth, probabilities, state, data):
    """Codes a matrix and the weight behind it, of which only that it is not zero."""
    before, lowest = 1, 0
    for i in range(len(codes)):
        before = _decide(probabilities, before, 1 if codes[i] else 0, state, data)
        if before and i + 1 < len(codes):
            lowest = _decide(probabilities, _LOWEST + lowest, (codes[i] - 1) & 1, state, data)
            node = 1
            for place in range(depth - 1, -1, -1):
                bit = (codes[i] - 1) >> (place + 1) & 1
                node = 2 * node + _decide(probabilities, _OTHERS + node, bit, state, data)
            codes[i] = 1 + 2 * (node - (1 << depth)) + lowest
        else:
            codes[i] = before


@inner
def _decide(probabilities, context, bit, state, data):
    p = probabilities[context]
    bit = code(state, data, p, bit)
    probabilities[context] = p + (65535 - p >> _RATE) if bit else p - (p >> _RATE)
    return bit
