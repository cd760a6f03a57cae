"""Weights as signed powers of two, and numbers as short sums of them: what shifts can multiply by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from demitasse.graph.weights import Doubles

Integers = npt.NDArray[np.int64]

# the widest span of exponents that the rows of a layer share; more would leave too few bits for the values
_WIDEST = 15
# to how much of a factor the sum of its digits is exact, and how many digits there are at most
_PRECISION, _DIGITS = 2.0**-11, 7


class PowerRows(NamedTuple):
    """A weight, row by row: factor * sign * 2^(shift + exponent).

    Attributes:
        signs: (rows, columns), -1, 0 or 1.
        shifts: (rows, columns), from 0 on.
        exponent: of the least power.
        factors: (rows,); None if all are 1.
    """

    signs: Integers
    shifts: Integers
    exponent: int
    factors: Doubles | None

    @property
    def whole(self) -> Doubles:
        """The weight without factors, in units of its least power."""
        return (self.signs * np.left_shift(1, self.shifts)).astype(np.float64)


class Digit(NamedTuple):
    """sign * 2^exponent."""

    sign: int
    exponent: int


def power_rows(weight: Doubles) -> PowerRows | None:
    """Returns a weight (rows, columns) in which each row is one factor times powers of two; None if it is not so.

    Normalizations and scales that were folded into a row of powers of two are such a factor.
    """
    mantissas, exponents = np.frexp(np.abs(weight))  # |weight| = mantissa * 2^exponent, 0.5 <= mantissa < 1
    used = weight != 0
    rows = used.any(1)
    tops = np.where(used, exponents, -(1 << 20)).max(1, initial=-(1 << 20))
    common = np.where(rows, mantissas.max(1, initial=0), 0.5)
    if not np.all((mantissas == common[:, None]) | ~used):
        return None
    alone = bool(np.all(common == 0.5))
    least, most = (
        int(pick(exponents[used], initial=start)) for pick, start in ((np.min, 1 << 20), (np.max, -(1 << 20)))
    )
    if not used.any():
        least = most = 1
    signs = np.sign(weight).astype(np.int64)
    if alone and most - least <= _WIDEST:
        return PowerRows(signs, np.where(used, exponents - least, 0).astype(np.int64), least - 1, None)
    depth = np.where(used, tops[:, None] - exponents, 0)
    span = int(depth.max(initial=0))
    if span > _WIDEST:
        return None
    factors = np.where(rows, np.ldexp(2 * common, np.where(rows, tops, 1) - 1), 1.0)
    return PowerRows(signs, np.where(used, span - depth, 0).astype(np.int64), -span, factors)


def signed_digits(value: float) -> list[Digit]:
    """Returns a few powers of two whose sum is about a value, the greatest first.

    Reference: Avizienis 1961, Signed-digit number representations for fast parallel arithmetic; each digit here is the
    power that is nearest to what is left.
    """
    digits: list[Digit] = []
    left = value
    while abs(left) > abs(value) * _PRECISION and len(digits) < _DIGITS:
        exponent = int(np.floor(np.log2(abs(left) / 0.75)))
        digits.append(Digit(1 if left > 0 else -1, exponent))
        left -= digits[-1].sign * 2.0**exponent
    return digits
