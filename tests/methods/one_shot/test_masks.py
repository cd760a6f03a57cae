"""Masks and the fit of what they keep."""

from __future__ import annotations

import pytest
import torch

from demitasse.methods.one_shot import masks
from demitasse.methods.one_shot.compensation import inverse_factor
from demitasse.methods.one_shot.moments import loss
from tests.methods.one_shot.problems import hessian, weight


def ones(rows: int = 5, groups: int = 1) -> torch.Tensor:
    return torch.ones(groups, rows, dtype=torch.float64)


def test_the_fit_is_the_dense_solution_of_every_row() -> None:
    target, h = weight(), hessian()
    kept = torch.rand(target.shape, generator=torch.Generator().manual_seed(3)) > 0.5
    found = masks.fitted(target, kept, h, steps=500, tolerance=1e-24)
    for row in range(target.shape[1]):
        own = kept[0, row]
        best = torch.linalg.solve(h[0][own][:, own], (target[0, row] @ h[0])[own])
        assert torch.allclose(found[0, row, own], best)
        assert not found[0, row, ~own].any()


@pytest.mark.parametrize("count", [0, 1, 13, 30, 59, 60])
def test_counts_are_exact(count: int) -> None:
    target, h = weight(), hessian()
    assert int(masks.sought(target, h, count, ones()).sum()) == count
    assert int(masks.choose(target, inverse_factor(h), count, ones(), block=5).sum()) == count


def test_what_is_cut_before_stays_cut() -> None:
    target, h = weight(), hessian()
    first = torch.rand(target.shape, generator=torch.Generator().manual_seed(3)) < 0.3
    for mask in (
        masks.sought(target, h, 30, ones(), first),
        masks.choose(target, inverse_factor(h), 30, ones(), first, block=5),
    ):
        assert (mask | ~first).all()
        assert int(mask.sum()) == 30


def test_a_mask_by_turns_loses_less_than_magnitude_and_less_than_one_pass() -> None:
    target, h = weight(16, 24), hessian(24)
    count = target.numel() // 2
    losses = []
    for mask in (
        masks.sought(target, h, count, ones(16)),
        masks.choose(target, inverse_factor(h), count, ones(16), block=8),
        masks.smallest(target.abs(), count),
    ):
        losses.append(float(loss(masks.fitted(target, ~mask, h) - target, h).sum()))
    assert losses[0] < min(losses[1:])


def test_ties_are_cut_in_order() -> None:
    assert masks.smallest(torch.ones(1, 2, 3), 4).flatten().tolist() == [True] * 4 + [False] * 2
