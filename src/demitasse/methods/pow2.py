"""The grid of powers of two: zero, and +-2^e for a range of exponents.

Reference: Zhou, Yao, Guo, Xu, Chen 2017, Incremental Network Quantization (arXiv 1702.03044), section 2.1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from demitasse.errors import MethodError

# factors that best_factor tries, and exponents below that of the largest value that a grid may end at
_STEPS, _LOWER = 64, 4


class Exponents(NamedTuple):
    """The least and the largest exponent of a grid, both included; the paper's n2 and n1."""

    least: int
    largest: int


def levels_of_bits(bits: int) -> int:
    """Returns the number of exponents that a width in bits allows: 2^(bits - 2).

    Reference: Zhou 2017, section 2.1: one code is zero, 2^(bits - 1) are powers of two of either sign.

    Raises:
        MethodError: fewer than 2 bits.
    """
    if bits < 2:
        raise MethodError(f"{bits} bits hold no sign and power of two; expected 2 or more")
    return 1 << (bits - 2)


def bits_of_levels(levels: int) -> int:
    """Returns the bits of a code: zero, and ``levels`` powers of either sign (7 -> 4, 8 -> 5)."""
    return math.ceil(math.log2(2 * levels + 1))


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


def project(values: Tensor, exponents: Exponents) -> Tensor:
    """Returns the values on the grid: sign(w) * 2^e for w in [3/4 * 2^e, 3/2 * 2^e), 0 below the least.

    Values above the largest exponent are clipped to it.

    Reference: Zhou 2017, equation (4).
    """
    return project_each(values, *map(torch.tensor, exponents))


def project_each(values: Tensor, least: Tensor, largest: Tensor) -> Tensor:
    """Returns the values on grids of their own; see :func:`project`.

    Args:
        values: any shape.
        least: int, broadcastable to the values: the least exponent of each.
        largest: int, likewise: the largest.
    """
    powers = exponent(values)
    rounded = torch.ldexp(torch.sign(values), torch.minimum(powers, largest.to(powers)))
    return torch.where((values == 0) | (powers < least.to(powers)), 0.0, rounded).to(values.dtype)


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
