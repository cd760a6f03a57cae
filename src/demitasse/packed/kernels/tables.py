"""The functions that models of probability need, as tables of integers, so that every machine computes the same.

Logarithms are natural, in units of 1 / :data:`UNIT`; probabilities have 16 bits, 1 to 65,535.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UNIT = 1024
# the logits of 16-bit probabilities are between -LARGEST and LARGEST
LARGEST = 12 * UNIT
_FRACTION = 64


class Tables(NamedTuple):
    """Lookup tables.

    Attributes:
        squash: logit + LARGEST -> probability.
        stretch: probability -> logit, the inverse of ``squash``.
        log: m -> logarithm of 1 + m / UNIT.
        rate: n -> 65,536 / (n + 1.5), the rate at which a probability moves after n observations.
    """

    squash: NDArray[np.int32]
    stretch: NDArray[np.int32]
    log: NDArray[np.int32]
    rate: NDArray[np.int32]


@cache
def tables() -> Tables:
    """Returns the tables, computed with integers only."""
    powers = _powers(LARGEST)
    one = 1 << _FRACTION
    upper = [((one << 1) * (power << 16) // (power + one) + one) >> (_FRACTION + 1) for power in powers]
    # squash(-x) = 1 - squash(x)
    squash = np.clip(np.array([65536 - p for p in upper[:0:-1]] + upper), 1, 65535)
    probabilities = np.arange(65536)
    first, last = (np.searchsorted(squash, probabilities, side) for side in ("left", "right"))
    stretch = np.clip((first + last) // 2, 0, 2 * LARGEST) - LARGEST
    log = [bisect_left(powers, one + one * m // UNIT) for m in range(UNIT + 1)]
    rate = (2 << 16) // (2 * np.arange(1024) + 3)
    return Tables(*(np.ascontiguousarray(table, np.int32) for table in (squash, stretch, np.array(log), rate)))


def _powers(count: int) -> list[int]:
    """Returns e^(k / UNIT) for k = 0 .. count, as integers with 64 bits of fraction."""
    step = term = 1 << _FRACTION
    for k in range(1, 12):
        term //= UNIT * k
        step += term
    powers = [1 << _FRACTION]
    for _ in range(count):
        powers.append(powers[-1] * step >> _FRACTION)
    return powers
