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

# where zero ends: at 1/2 of the least power, its middle with zero, or at 3/4 of it, as in the original fork of Caffe
Rule = Literal["paper", "fork"]

# factors that best_factor tries, and exponents below that of the largest value that a grid may end at
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
    """Returns the number of exponents that a width in bits allows: 2^(bits - 2).

    Reference: Zhou 2017, section 2.1: one code is zero, 2^(bits - 1) are powers of two of either sign.

    Raises:
        MethodError: it is no whole number, below 2, or allows more powers than the widest type has.
    """
    bits = settings.whole("bits", bits)
    if bits < 2:
        raise MethodError(f"{bits} bits hold no sign and power of two; expected 2 or more")
    # tested before the shift, which a large number would make a very large one
    known = exponents_of_type(torch.float64).levels
    most = known.bit_length() + 1
    if bits > most:
        raise MethodError(
            f"bits is {bits}, but float64 has no more than {known} powers of two; expected at most {most}"
        )
    return 1 << (bits - 2)


def bits_of_levels(levels: int) -> int:
    """Returns the bits of a code: zero, and ``levels`` powers of either sign (7 -> 4, 8 -> 5)."""
    return math.ceil(math.log2(2 * levels + 1))


def levels_of_exponents(exponents: int | tuple[int, ...]) -> tuple[int, int | None]:
    """Returns the number of exponents, and the largest where a pair (least, largest) is given.

    Raises:
        MethodError: it is neither a whole number from 1 on nor a rising pair of them.
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
    """Returns the powers of two that a type of floating-point numbers has, subnormal ones included."""
    limits = torch.finfo(dtype)
    ends = limits.smallest_normal * limits.eps, limits.max
    return Exponents(*(math.frexp(value)[1] - 1 for value in ends))


def check_levels(levels: int, largest: int | None, dtype: torch.dtype, place: str) -> None:
    """Raises where a grid is beyond a type.

    Args:
        levels: number of exponents.
        largest: the largest of them; None where the weights decide.
        dtype: of the weights.
        place: what the grid is for, as the message calls it.

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
    """Raises where weights are so large that their nearest power of two is beyond their type.

    Raises:
        MethodError: as said.
    """
    most = exponents_of_type(dtype).largest
    if exponent > most:
        kind = str(dtype).removeprefix("torch.")
        raise MethodError(f"{place}: the largest weight is nearest to 2^{exponent}; {kind} ends at 2^{most}")


def exponent(values: Tensor) -> Tensor:
    """Returns floor(log2(4 |w| / 3)) of every value, as int32; of zeros a meaningless number.

    With |w| = m * 2^k and 1/2 <= m < 1 this is k where m >= 3/4 and k - 1 elsewhere, which needs no logarithm and
    so puts the bounds exactly at 3/4 * 2^e and 3/2 * 2^e.

    Reference: Zhou 2017, equations (2) and (4).
    """
    mantissa, power = torch.frexp(values.abs())
    return power - (mantissa < 0.75).to(torch.int32)


def grid(largest: float, levels: int, frozen: bool = False) -> Exponents:
    """Returns the exponents for values up to ``largest``.

    Args:
        largest: the largest magnitude, positive.
        levels: number of exponents, num_quantum_values in prototxts.
        frozen: whether ``largest`` is on the grid already, which then must not move.

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

    Values above the largest exponent are clipped to it. The neighbour of the least, n2, is zero: values in
    [1/2 * 2^n2, 3/4 * 2^n2) become 2^n2 as well, by the rule of the fork 0.

    Reference: Zhou 2017, equation (4).
    """
    return project_each(values, torch.tensor(exponents.least), torch.tensor(exponents.largest), rule)


def project_each(values: Tensor, least: Tensor, largest: Tensor, rule: Rule = "paper") -> Tensor:
    """Returns the values on grids of their own; see :func:`project`.

    Args:
        values: any shape.
        least: int, broadcastable to the values: the least exponent of each.
        largest: int, likewise: the largest.
        rule: where zero ends.
    """
    mantissa, power = torch.frexp(values.abs())
    powers = power - (mantissa < 0.75).to(torch.int32)
    least = least.to(powers)
    # |w| is at least 1/2 * 2^power
    is_zero = (values == 0) | ((power if rule == "paper" else powers) < least)
    nearest = torch.minimum(torch.maximum(powers, least), largest.to(powers))
    return torch.where(is_zero, 0.0, torch.ldexp(torch.sign(values), nearest)).to(values.dtype)


def error(values: Tensor, largest: Tensor, levels: int, unit: Tensor) -> Tensor:
    """Returns the squared error of each row on a grid of its own, as integers: they add up alike in any order.

    Args:
        values: (rows, columns).
        largest: (rows,) int: the largest exponents.
        levels: number of exponents.
        unit: (rows,) int: exponents near those of the largest values, to which errors are taken relative.

    Returns:
        (rows,) int64, in 2^(2 * unit - 30).
    """
    top = largest[:, None]
    away = project_each(values, top - (levels - 1), top).double() - values.double()
    return torch.ldexp(away, 15 - unit[:, None]).square().round().long().sum(1)


def best_factor(values: Tensor, levels: int) -> float:
    """Returns by what to multiply values so that a grid fits them best: the least squared error, relative to theirs.

    A factor of two changes nothing but the grid, so only those from 2^-1/2 to 2^1/2 are looked at.

    Args:
        values: any shape; zeros do not count. 1 where there is nothing else.
        levels: number of exponents.
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
    """Returns where values are zero or powers of two of either sign, as bool."""
    return (values == 0) | (torch.frexp(values).mantissa.abs() == 0.5)
