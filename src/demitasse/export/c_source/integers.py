"""The operations of a net in integers: shifts, sums and comparisons of numbers below 2^31, and nothing else.

A tensor's value is its integer times 2^exponent of its format. A sum is taken exactly, in units of the least power that
occurs in it; what is done to it then is a :class:`Finish`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from demitasse.errors import ExportError
from demitasse.export.c_source.net import CNet, COperation, GreatestPlace, Limits, PlanePooling, WeightedSum
from demitasse.export.c_source.powers import Integers, PowerRows, power_rows, signed_digits
from demitasse.graph.weights import Doubles

_MOST = 2**31 - 1
# bits that sums with a factor or with slopes keep below the unit of the result
_GUARD = 4


class NumberFormat(NamedTuple):
    """How a tensor's values are stored: low <= integer <= high, the value is integer * 2^exponent."""

    exponent: int
    low: int
    high: int

    @property
    def unit(self) -> float:
        """The value of 1."""
        return 2.0**self.exponent

    @property
    def ctype(self) -> str:
        """The type in C."""
        if self.low >= 0 and self.high < 256:
            return "uint8_t"
        return "int8_t" if self.low >= -128 and self.high < 128 else "int16_t"

    @property
    def most(self) -> int:
        """The greatest magnitude."""
        return max(-self.low, self.high)

    def rounded(self, values: Doubles) -> Doubles:
        """Returns the integers that are nearest to values, halves rounded up; what is not a number is the least."""
        found = np.floor(np.asarray(values, np.float64) / self.unit + 0.5)
        return np.clip(np.where(np.isnan(found), self.low, found), self.low, self.high)


class ShiftTerm(NamedTuple):
    """sign * x * 2^-right: a shift, to the left where ``right`` is negative."""

    sign: int
    right: int


class Finish(NamedTuple):
    """What becomes of a sum: slopes below zero, a rounded shift to the right, limits.

    Attributes:
        right: the bits that are dropped.
        low: the least result.
        high: the greatest result.
        slopes: terms of the factor of negative sums, for all channels or for each; none for no slopes.
    """

    right: int
    low: int
    high: int
    slopes: tuple[tuple[ShiftTerm, ...], ...] = ()


@dataclass
class PowerSum:
    """The integer form of a :class:`WeightedSum`.

    Attributes:
        rows: the weights.
        biases: (rows,), in units of the sum, or of the sum times its factor.
        factors: terms of each row's factor; none where all are 1.
        finish: what becomes of the sum.
    """

    rows: PowerRows
    biases: Integers
    factors: list[tuple[ShiftTerm, ...]]
    finish: Finish


@dataclass
class ShiftSum:
    """The integer form of an addition, or of limits alone: the inputs are shifted to the left and added."""

    lefts: list[int]
    signs: list[int]
    finish: Finish


IntegerForm = PowerSum | ShiftSum | None


class TooLargeError(Exception):
    """A sum may reach 2^31: the tensor needs fewer bits."""

    def __init__(self, tensor: int) -> None:
        super().__init__(tensor)
        self.tensor = tensor


def integer_form(net: CNet, operation: COperation, formats: Mapping[int, NumberFormat]) -> IntegerForm:
    """Returns how an operation is computed, for the formats of its tensors; None for pooling and places.

    Raises:
        TooLargeError: a sum could be too large.
        ExportError: a weight is no power of two.
    """
    if isinstance(operation, PlanePooling | GreatestPlace):
        return None
    to = formats[operation.output]
    if isinstance(operation, WeightedSum):
        return _power_sum(operation, formats[operation.input], to)
    signs = getattr(operation, "signs", [1])
    taken = [formats[number] for number in operation.inputs]
    least = min(each.exponent for each in (*taken, to))
    least -= _GUARD if operation.limits.slopes is not None else 0
    lefts = [each.exponent - least for each in taken]
    most = sum(each.most << left for each, left in zip(taken, lefts, strict=True))
    finest = min(zip(taken, operation.inputs, strict=True), key=lambda each: each[0].exponent)[1]
    finish = _finish(operation.limits, to, to.exponent - least)
    _expect_small(most, finish, operation.output if to.exponent < formats[finest].exponent else finest)
    return ShiftSum(lefts, signs, finish)


def _power_sum(operation: WeightedSum, of: NumberFormat, to: NumberFormat) -> PowerSum:
    rows = power_rows(operation.weight)
    if rows is None:
        raise ExportError(
            f"layer {operation.name!r} has weights that are not powers of two (times one factor a row); "
            "C without multiplications has no others: quantize the net, or export it with the arithmetic 'float'"
        )
    unit = of.exponent + rows.exponent
    sums = np.abs(rows.whole).sum(1) * of.most
    factors: list[tuple[ShiftTerm, ...]] = []
    if rows.factors is not None:
        after = to.exponent - _GUARD
        factors = [_terms(float(factor), unit - after) for factor in rows.factors]
        scales = np.array([sum(2.0 ** -min(term.right, 31) for term in terms) for terms in factors])
        if sums.max(initial=0) > _MOST:
            raise TooLargeError(operation.input)
        sums, unit = np.ceil(sums * scales) + len(max(factors, key=len)), after
    elif to.exponent < unit:
        raise TooLargeError(operation.output)
    biases = np.floor(operation.bias / 2.0**unit + 0.5)
    finish = _finish(operation.limits, to, to.exponent - unit)
    blamed = operation.output if factors else operation.input
    _expect_small(float((sums + np.abs(biases)).max(initial=0)), finish, blamed)
    return PowerSum(rows, biases.astype(np.int64), factors, finish)


def _terms(factor: float, left: int) -> tuple[ShiftTerm, ...]:
    """Returns the terms of factor * 2^left, without those that shift everything away."""
    terms = (ShiftTerm(digit.sign, -digit.exponent - left) for digit in signed_digits(factor))
    return tuple(term for term in terms if term.right < 31)


def _finish(limits: Limits, to: NumberFormat, right: int) -> Finish:
    low, high = (
        int(np.clip(math.floor(limit / to.unit + 0.5), to.low, to.high)) if math.isfinite(limit) else end
        for limit, end in ((limits.low, to.low), (limits.high, to.high))
    )
    slopes = () if limits.slopes is None else tuple(_terms(float(slope), 0) for slope in limits.slopes)
    return Finish(right, low, high, slopes)


def _expect_small(most: float, finish: Finish, tensor: int) -> None:
    """Raises TooLargeError unless a sum of this magnitude, and what becomes of it, stay below 2^31."""
    growth = max((sum(2.0**-term.right for term in terms) for terms in finish.slopes), default=1.0)
    half = 1 << finish.right >> 1 if finish.right < 40 else 1 << 40
    if most * max(growth, 1.0) + half > _MOST:
        raise TooLargeError(tensor)


@dataclass
class IntegerNet:
    """A net in integers.

    Attributes:
        net: the net.
        formats: of its tensors.
        forms: of its operations, in order.
    """

    net: CNet
    formats: list[NumberFormat]
    forms: list[IntegerForm]

    @classmethod
    def of(cls, net: CNet, formats: Sequence[NumberFormat]) -> IntegerNet:
        """Returns the net for the formats of its tensors; errors are those of :func:`integer_form`."""
        numbered = dict(enumerate(formats))
        return cls(net, list(formats), [integer_form(net, operation, numbered) for operation in net.operations])
