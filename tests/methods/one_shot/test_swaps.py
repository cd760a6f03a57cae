"""Zeros that move once the values of a rounded weight are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from demitasse.methods.one_shot import codebooks, masks
from demitasse.methods.one_shot.compensation import inverse_factor, sweep
from demitasse.methods.one_shot.moments import loss
from demitasse.methods.one_shot.swaps import swapped
from tests.methods.one_shot.problems import hessian, weight

ROWS, COLUMNS = 16, 24
IMPORTANCE = torch.linspace(0.5, 2, ROWS, dtype=torch.float64).unsqueeze(0)


def rounded(cut: Tensor, codebook: Tensor, target: Tensor, h: Tensor) -> Tensor:
    """A weight that was rounded with a mask, as before its zeros move."""

    def choose(value: Tensor, column: int, curvature: Tensor) -> Tensor:
        return torch.where(cut[:, :, column], 0.0, codebook[codebooks.nearest(value, codebook)])

    return sweep(target, inverse_factor(h), choose)


@pytest.mark.parametrize("codebook", [codebooks.integers(7), codebooks.powers(1, 4)], ids=["uniform", "pow2"])
@pytest.mark.parametrize("turns", [1, 3])
def test_the_loss_falls_and_the_count_is_exact(codebook: Tensor, turns: int) -> None:
    target, h = 3 * weight(ROWS, COLUMNS), hessian(COLUMNS)
    cut = masks.smallest(target.abs(), target.numel() // 2)
    zeros = torch.zeros_like(cut)
    before = rounded(cut, codebook, target, h)
    after, moved = swapped(target, before, h, codebook, IMPORTANCE, cut, zeros, turns)
    losses = [float((loss(fixed - target, h) * IMPORTANCE).sum()) for fixed in (before, after)]
    assert losses[1] < 0.8 * losses[0]
    assert int(moved.sum()) == int(cut.sum())
    assert not torch.equal(moved, cut)
    assert not after[moved].any()
    assert torch.isin(after, codebook).all()


def test_no_single_exchange_is_better_without_correlations() -> None:
    """With independent inputs, the best mask is that of the largest gains: all masks can be compared."""
    target = torch.tensor([[[0.9, 3.2, 0.4, 2.1, 6.6, 1.4]]], dtype=torch.float64)
    h = torch.diag(torch.tensor([9.0, 1.0, 1.0, 1.0, 0.1, 1.0], dtype=torch.float64)).unsqueeze(0)
    codebook, one = codebooks.integers(7), torch.ones(1, 1, dtype=torch.float64)
    cut = torch.tensor([[[True, True, False, False, True, False]]])
    fixed = torch.where(cut, 0.0, codebook[codebooks.nearest(target, codebook)])
    found, mask = swapped(target, fixed, h, codebook, one, cut, torch.zeros_like(cut))
    choices = torch.combinations(torch.arange(6), 3)
    losses = []
    for choice in choices:
        tried = codebook[codebooks.nearest(target, codebook)].clone()
        tried[0, 0, choice] = 0
        losses.append(float(loss(tried - target, h)))
    assert float(loss(found - target, h)) == pytest.approx(min(losses))
    assert int(mask.sum()) == 3


def test_what_must_stay_zero_does_and_a_mask_of_all_is_left_alone() -> None:
    target, h = 3 * weight(ROWS, COLUMNS), hessian(COLUMNS)
    codebook = codebooks.integers(7)
    zeros = torch.rand(target.shape, generator=torch.Generator().manual_seed(2)) < 0.3
    cut = zeros | masks.smallest(target.abs(), target.numel() // 3)
    after, moved = swapped(target, rounded(cut, codebook, target, h), h, codebook, IMPORTANCE, cut, zeros)
    assert (moved | ~zeros).all()
    assert not after[zeros].any()
    assert int(moved.sum()) == int(cut.sum())
    everything = torch.ones_like(cut)
    nothing = torch.zeros_like(target)
    after, moved = swapped(target, nothing, h, codebook, IMPORTANCE, everything, zeros)
    assert not after.any()
    assert moved.all()
