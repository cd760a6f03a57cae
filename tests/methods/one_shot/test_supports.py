"""Rounding of each row on the columns that it keeps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from demitasse.methods.one_shot import supports
from demitasse.methods.one_shot.compensation import inverse_factor, sweep
from demitasse.methods.one_shot.moments import loss
from tests.methods.one_shot.problems import hessian, weight

ONES = torch.ones(2, 5, dtype=torch.float64)


def halves(value: Tensor, cost: Tensor) -> Tensor:
    return (value * 2).round() / 2


def problem() -> tuple[Tensor, Tensor, Tensor]:
    target, h = weight(groups=2), hessian(groups=2)
    kept = torch.rand(target.shape, generator=torch.Generator().manual_seed(3)) > 0.6
    kept[0, 2], kept[1, 0] = False, True
    return target, kept, h


def test_every_row_is_what_a_sweep_over_its_own_columns_gives() -> None:
    target, kept, h = problem()
    found = supports.sweep(target, kept, h, ONES, halves)
    for group in range(2):
        for row in range(5):
            own = kept[group, row]
            assert not found[group, row, ~own].any()
            small = h[group][own][:, own]
            best = torch.linalg.solve(small, (target[group, row] @ h[group])[own])
            alone = sweep(best[None, None], inverse_factor(small[None]), lambda value, *_: halves(value, value))
            assert torch.equal(found[group, row, own], alone[0, 0])


@pytest.mark.parametrize("entries", [1, 30, 1000])
def test_how_many_rows_go_together_changes_nothing(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    target, kept, h = problem()
    found = supports.sweep(target, kept, h, ONES, halves)
    monkeypatch.setattr(supports, "_AT_ONCE", entries)
    assert torch.equal(supports.sweep(target, kept, h, ONES, halves), found)


def test_the_costs_add_up_to_what_rounding_loses() -> None:
    target, kept, h = problem()
    importance = torch.arange(1.0, 11, dtype=torch.float64).view(2, 5)
    total = 0.0

    def counted(value: Tensor, cost: Tensor) -> Tensor:
        nonlocal total
        fixed = halves(value, cost)
        total += float(((value - fixed).square() * cost).sum())
        return fixed

    found = supports.sweep(target, torch.ones_like(kept), h, importance, counted)
    assert total == pytest.approx(float((loss(found - target, h) * importance).sum()))


def test_work_counts_the_columns_that_are_kept() -> None:
    kept = torch.zeros(1, 2, 6, dtype=torch.bool)
    kept[0, 1, :3] = True
    assert supports.multiplications(kept) == 9


def test_nothing_kept_gives_zeros() -> None:
    target, kept, h = problem()
    assert not supports.sweep(target, torch.zeros_like(kept), h, ONES, halves).any()
