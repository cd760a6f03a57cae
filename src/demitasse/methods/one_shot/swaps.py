"""Moves the zeros of a rounded weight to where they cost less, as its values are known."""

from __future__ import annotations

import torch
from torch import Tensor

from demitasse.methods.one_shot import codebooks, masks, moments
from demitasse.methods.one_shot.compensation import Choose, refine

TURNS = 2
_PASSES = 2  # over the columns, after the mask of a turn is known


def swapped(
    weight: Tensor,
    fixed: Tensor,
    hessian: Tensor,
    codebook: Tensor,
    importance: Tensor,
    cut: Tensor,
    zeros: Tensor,
    turns: int = TURNS,
) -> tuple[Tensor, Tensor]:
    """Returns a rounded weight and a mask with as many zeros, with a loss that is no larger.

    In a turn, coordinate descent chooses every column once more, where an entry other than zero pays a toll, so that
    zeros may move. The toll is the one at which the asked number of zeros is worth it. Then the entries that would
    gain least from not being zero become the mask, exactly as many as before, and the others are refined.

    Args:
        weight: (groups, rows, columns), what the rounded weight stands for.
        fixed: the same shape, of the codebook's values.
        hessian: (groups, columns, columns).
        codebook: (entries,), one of them zero.
        importance: (groups, rows), factors of the rows' losses.
        cut: bool, the mask of the weights that are cut.
        zeros: bool, those that are cut in any case.
        turns: how often the zeros may move.

    Reference: Behdin et al. 2023, QuantEase (arXiv 2309.01885), section 3, for the descent; Hazimeh and Mazumder 2020,
    Fast Best Subset Selection (arXiv 1803.01454), section 3, whose price of an entry other than zero is the toll.
    """
    count = int(cut.sum())
    diagonal = hessian.diagonal(dim1=1, dim2=2).unsqueeze(1)

    def loss(fixed: Tensor) -> float:
        return float((moments.loss(fixed - weight, hessian) * importance).sum())

    def gains(fixed: Tensor) -> Tensor:
        """Returns what each entry alone can gain from not being zero."""
        best = fixed - ((fixed - weight) @ hessian) / diagonal
        rounded = codebook[codebooks.nearest(best, codebook)]
        found = (best.square() - (best - rounded).square()) * diagonal * importance.unsqueeze(2)
        return found.masked_fill(zeros, -1)

    best, least = (fixed, cut), loss(fixed)
    for _ in range(turns):
        toll = gains(fixed).flatten().sort().values[count - 1].clamp(min=0)
        fixed = refine(weight, fixed, hessian, _chooser(codebook, zeros, importance, toll))
        cut = masks.smallest(gains(fixed), count)
        fixed = torch.where(cut, 0.0, fixed)
        for _ in range(_PASSES):
            fixed = refine(weight, fixed, hessian, _chooser(codebook, cut, importance))
        now = loss(fixed)
        if not now < least:
            break
        best, least = (fixed, cut), now
    return best


def _chooser(codebook: Tensor, cut: Tensor, importance: Tensor, toll: Tensor | None = None) -> Choose:
    """Returns what chooses the nearest entry, or zero where another entry is not worth the toll."""

    def choose(value: Tensor, column: int, curvature: Tensor) -> Tensor:
        found = codebook[codebooks.nearest(value, codebook)]
        if toll is not None:
            gain = (value.square() - (value - found).square()) * curvature.unsqueeze(1) * importance
            found = torch.where(gain > toll, found, 0.0)
        return torch.where(cut[:, :, column], 0.0, found)

    return choose
