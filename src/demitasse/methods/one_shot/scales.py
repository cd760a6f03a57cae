"""Searches the scale between a weight and its codebook."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from demitasse.methods.one_shot.codebooks import nearest

FINE = 16  # scales to try for each factor of two
_SPAN = (-2.5, 0.75)  # log2 of the scales to try, relative to the one that holds the largest weight
_DIGITS = 4  # bits of a short mantissa: 16 scales for each factor of two


def candidates(largest: Tensor, whole: bool, fine: int = FINE) -> Tensor:
    """Returns the scales to try, (candidates, groups, rows).

    Args:
        largest: (groups, rows), the scale that holds the largest weight.
        whole: whether scales are powers of two.
        fine: the number of scales for each factor of two, if they are not.
    """
    if whole:
        exponents = range(math.floor(_SPAN[0]), math.ceil(_SPAN[1]) + 1)
        return torch.stack([2.0 ** (largest.log2().round() + k) for k in exponents])
    count = round((_SPAN[1] - _SPAN[0]) * fine)
    return torch.stack([largest * 2.0 ** (_SPAN[0] + k / fine) for k in range(count + 1)])


def digits(largest: int, stored: torch.dtype) -> int:
    """Returns the bits of the mantissa of a scale that leave all its multiples up to the largest exact in a type."""
    bits = round(-math.log2(torch.finfo(stored).eps))  # of the mantissa of the type
    return max(count for count in range(_DIGITS + 1) if count == 0 or largest * ((2 << count) - 1) < 2 << bits)


def shortened(scale: Tensor, count: int) -> Tensor:
    """Returns scales rounded to this number of bits of the mantissa."""
    mantissa, exponent = torch.frexp(scale)
    return torch.ldexp((mantissa * (2 << count)).round() / (2 << count), exponent)


def search(weight: Tensor, curvature: Tensor, codebook: Tensor, candidates: Tensor, shared: bool = False) -> Tensor:
    """Returns for each row the candidate with the least weighted squared error of rounding.

    Args:
        weight: (groups, rows, columns).
        curvature: (groups, rows, columns) or broadcastable: the weight of the squared errors.
        codebook: (entries,).
        candidates: (candidates, groups, rows): the scales to try; a scaled entry is scale * entry.
        shared: whether all rows take the same candidate.

    Returns:
        (groups, rows).

    Reference: PoTPTQ 2025 (arXiv 2507.11959), section 3, which searches scales of powers of two on a grid, too.
    """
    losses = torch.stack([error(weight, curvature, codebook, scale) for scale in candidates])
    if shared:
        return candidates[int(losses.sum((1, 2)).argmin())]
    return candidates.gather(0, losses.argmin(0, keepdim=True))[0]


def error(weight: Tensor, curvature: Tensor, codebook: Tensor, scale: Tensor) -> Tensor:
    """Returns the weighted squared error of rounding each row with its scale, (groups, rows)."""
    scale = scale.unsqueeze(2)
    rounded = codebook.to(weight.dtype)[nearest(weight / scale, codebook)] * scale
    return ((weight - rounded).square() * curvature).sum(2)


def best(weight: Tensor, fixed: Tensor, hessian: Tensor) -> Tensor:
    """Returns for each row the factor a that minimizes (a q - w) H (a q - w)^T; 1 where q is zero.

    Args:
        weight: w, (groups, rows, columns).
        fixed: q, the same shape.
        hessian: (groups, columns, columns).
    """
    seen = fixed @ hessian
    over, under = (seen * weight).sum(2), (seen * fixed).sum(2)
    return torch.where((under > 0) & (over > 0), over / under.clamp(min=torch.finfo(under.dtype).tiny), 1.0)
