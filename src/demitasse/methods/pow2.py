"""The grid of powers of two: zero, and +-2^e for a range of exponents.

Reference: Zhou, Yao, Guo, Xu, Chen 2017, Incremental Network Quantization (arXiv 1702.03044), section 2.1.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from demitasse.errors import MethodError
from demitasse.methods import settings

# below which share of the least power values become zero: 1/2 (paper), or 3/4 as in the original fork of Caffe
Rule = Literal["paper", "fork"]

# best_factor tries this number of factors, and this number of largest exponents, from that of the largest value down
_STEPS, _LOWER = 64, 4


class Exponents(NamedTuple):
    """The least and the largest exponent of a grid, both included; the paper's n2 and n1."""

    least: int
    largest: int

    @property
    def levels(self) -> int:
        """The number of exponents."""
        return self.largest - self.least + 1


def levels_of_bits(bits: int) -> int:
    """Returns the number of exponents for a width in bits: 2^(bits - 2).

    Reference: Zhou 2017, section 2.1: one code is zero, 2^(bits - 1) codes are powers of two of both signs.

    Raises:
        MethodError: the width is not a whole number, is below 2, or allows more powers than float64 has.
    """
    bits = settings.whole("bits", bits)
    if bits < 2:
        raise MethodError(f"{bits} bits cannot hold a sign and a power of two; expected 2 or more")
    # check before the shift: a large width would give a huge number
    known = exponents_of_type(torch.float64).levels
    most = known.bit_length() + 1
    if bits > most:
        raise MethodError(f"bits is {bits}, but float64 has only {known} powers of two; expected at most {most}")
    return 1 << (bits - 2)


def bits_of_levels(levels: int) -> int:
    """Returns the bits of a code for zero and ``levels`` powers of each sign (7 -> 4, 8 -> 5)."""
    return math.ceil(math.log2(2 * levels + 1))


def levels_of_exponents(exponents: int | tuple[int, ...]) -> tuple[int, int | None]:
    """Returns the number of exponents, and the largest one if a pair (least, largest) is given.

    Raises:
        MethodError: the value is neither a positive whole number nor a pair (least, largest).
    """
    if isinstance(exponents, tuple | list):
        pair = [settings.whole("each of exponents", value) for value in exponents]
        least, largest = pair if len(pair) == 2 else (1, 0)
        if least > largest:
            raise MethodError(f"exponents is {exponents}; expected a pair (least, largest)")
        return largest - least + 1, largest
    number = settings.whole("exponents", exponents)
    if number < 1:
        raise MethodError(f"exponents is {number}; expected 1 or more, or a pair (least, largest)")
    return number, None


def exponents_of_type(dtype: torch.dtype) -> Exponents:
    """Returns the range of powers of two of a floating-point type, subnormal ones included."""
    limits = torch.finfo(dtype)
    ends = limits.smallest_normal * limits.eps, limits.max
    return Exponents(*(math.frexp(value)[1] - 1 for value in ends))


def check_levels(levels: int, largest: int | None, dtype: torch.dtype, place: str) -> None:
    """Checks that a type has the powers of two of a grid.

    Args:
        levels: number of exponents.
        largest: the largest exponent; None if it depends on the weights.
        dtype: type of the weights.
        place: name of the parameter, for the message.

    Raises:
        MethodError: the type has fewer powers of two, or not these.
    """
    known, kind = exponents_of_type(dtype), str(dtype).removeprefix("torch.")
    if levels > known.levels:
        raise MethodError(f"{place}: a grid of {levels} powers of two is beyond {kind}, which has {known.levels}")
    if largest is not None and not known.least <= largest - levels + 1 <= largest <= known.largest:
        raise MethodError(
            f"{place}: powers of two from 2^{largest - levels + 1} to 2^{largest} are beyond {kind}, "
            f"which has 2^{known.least} to 2^{known.largest}"
        )


def check_largest(exponent: int, dtype: torch.dtype, place: str) -> None:
    """Checks that a type has the power of two nearest to the largest weight.

    Raises:
        MethodError: the power is too large for the type.
    """
    most = exponents_of_type(dtype).largest
    if exponent > most:
        kind = str(dtype).removeprefix("torch.")
        raise MethodError(f"{place}: the largest weight is nearest to 2^{exponent}; the largest of {kind} is 2^{most}")


def exponent(values: Tensor) -> Tensor:
    """Returns floor(log2(4 |w| / 3)) of every value, as int32; meaningless for zeros.

    With |w| = m * 2^k and 1/2 <= m < 1 this is k if m >= 3/4, else k - 1. It needs no logarithm, so the bounds are
    exactly 3/4 * 2^e and 3/2 * 2^e.

    Reference: Zhou 2017, equations (2) and (4).
    """
    mantissa, power = torch.frexp(values.abs())
    return power - (mantissa < 0.75).to(torch.int32)


def grid(largest: float, levels: int, frozen: bool = False) -> Exponents:
    """Returns the exponents for values up to ``largest``.

    Args:
        largest: the largest magnitude, positive.
        levels: number of exponents, num_quantum_values in prototxts.
        frozen: whether ``largest`` is already on the grid, which then must not move.

    Reference: Zhou 2017, equations (2) and (3).

    Raises:
        MethodError: ``levels`` is not positive.
    """
    if levels < 1:
        raise MethodError(f"num_quantum_values is {levels}; expected 1 or more")
    top = round(math.log2(largest)) if frozen else int(exponent(torch.tensor(largest, dtype=torch.float64)))
    return Exponents(top - levels + 1, top)


def project(values: Tensor, exponents: Exponents, rule: Rule = "paper") -> Tensor:
    """Returns the nearest values on the grid: sign(w) * 2^e for |w| in [3/4 * 2^e, 3/2 * 2^e).

    Values above the largest exponent are clipped to it. Below the least exponent, n2, the next grid point is zero:
    values in [1/2 * 2^n2, 3/4 * 2^n2) become 2^n2 by the rule of the paper, and 0 by the rule of the fork.

    Reference: Zhou 2017, equation (4).
    """
    return project_each(values, torch.tensor(exponents.least), torch.tensor(exponents.largest), rule)


def project_each(values: Tensor, least: Tensor, largest: Tensor, rule: Rule = "paper") -> Tensor:
    """Returns the nearest values on a grid for each value; see :func:`project`.

    Args:
        values: any shape.
        least: int, broadcastable to the values: the least exponent for each value.
        largest: int, broadcastable to the values: the largest exponent for each value.
        rule: which small values become zero.
    """
    mantissa, power = torch.frexp(values.abs())
    powers = power - (mantissa < 0.75).to(torch.int32)
    least = least.to(powers)
    # |w| is at least 1/2 * 2^power
    is_zero = (values == 0) | ((power if rule == "paper" else powers) < least)
    nearest = torch.minimum(torch.maximum(powers, least), largest.to(powers))
    return torch.where(is_zero, 0.0, torch.ldexp(torch.sign(values), nearest)).to(values.dtype)


def error(values: Tensor, largest: Tensor, levels: int, unit: Tensor) -> Tensor:
    """Returns the squared error of each row on its own grid, as integers, whose sums do not depend on the order.

    Args:
        values: (rows, columns).
        largest: (rows,) int: the largest exponents.
        levels: number of exponents.
        unit: (rows,) int: exponents near those of the largest values, which set the unit of the errors.

    Returns:
        (rows,) int64, in 2^(2 * unit - 30).
    """
    top = largest[:, None]
    away = project_each(values, top - (levels - 1), top).double() - values.double()
    return torch.ldexp(away, 15 - unit[:, None]).square().round().long().sum(1)


def best_factor(values: Tensor, levels: int) -> float:
    """Returns the scale that minimizes the relative squared error between the scaled values and their grid.

    A factor of two only moves the grid, so the search covers 2^-1/2 to 2^1/2.

    Args:
        values: any shape; zeros do not count.
        levels: number of exponents.

    Returns:
        The scale; 1 if all values are zero.
    """
    magnitudes = values[values != 0].abs().double()
    if not magnitudes.numel():
        return 1.0
    factors = [2 ** (step / _STEPS - 0.5) for step in range(_STEPS)]
    return min(factors, key=lambda factor: _misfit(magnitudes * factor, levels) / factor**2)


def _misfit(magnitudes: Tensor, levels: int) -> float:
    """Returns the squared error on the best grid."""
    top = int(exponent(magnitudes.max()))
    grids = [Exponents(largest - levels + 1, largest) for largest in range(top - _LOWER + 1, top + 1)]
    return min(float((project(magnitudes, one) - magnitudes).square().sum()) for one in grids)


def on_grid(values: Tensor) -> Tensor:
    """Returns which values are zero or powers of two of either sign, as bool."""
    return (values == 0) | (torch.frexp(values).mantissa.abs() == 0.5)
