"""Error compensation, against dense solutions of the same problems."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from demitasse.methods.one_shot.compensation import damped, inverse_factor, refine, sweep, towards_dense
from demitasse.methods.one_shot.moments import loss
from tests.methods.one_shot.problems import hessian, inputs, weight


def round_half(value: Tensor, column: int, curvature: Tensor) -> Tensor:
    return (value * 2).round() / 2


def solved(target: Tensor, h: Tensor, fixed: Tensor, known: int) -> Tensor:
    """The best values of a row's columns from ``known`` on, the ones before being fixed: dense normal equations."""
    change = fixed[:known] - target[:known]
    rest = torch.linalg.solve(h[known:, known:], h[known:, :known] @ change)
    return target[known:] - rest


def test_every_column_is_chosen_from_what_a_dense_solve_gives() -> None:
    target, h = weight(), hessian()
    seen = []

    def choose(value: Tensor, column: int, curvature: Tensor) -> Tensor:
        seen.append((value.clone(), float(curvature[0])))
        return round_half(value, column, curvature)

    found = sweep(target, inverse_factor(h), choose, block=5)
    for column, (value, curvature) in enumerate(seen):
        for row in range(target.shape[1]):
            best = solved(target[0, row], h[0], found[0, row], column)
            assert float(value[0, row]) == pytest.approx(float(best[0]), abs=1e-8)
        inverse = torch.linalg.inv(h[0, column:, column:])
        assert curvature == pytest.approx(1 / float(inverse[0, 0]))


def test_the_loss_is_the_sum_of_the_losses_of_the_columns() -> None:
    target, h = weight(), hessian()
    total = torch.zeros(1, target.shape[1], dtype=torch.float64)

    def choose(value: Tensor, column: int, curvature: Tensor) -> Tensor:
        fixed = round_half(value, column, curvature)
        total.add_((value - fixed).square() * curvature.unsqueeze(1))
        return fixed

    found = sweep(target, inverse_factor(h), choose)
    assert torch.allclose(total, loss(found - target, h))


@pytest.mark.parametrize("block", [1, 4, 64])
def test_blocks_change_nothing(block: int) -> None:
    target, h = weight(groups=3), hessian(groups=3)
    factor = inverse_factor(h)
    assert torch.equal(sweep(target, factor, round_half, block), sweep(target, factor, round_half))
    start = (target * 2).round() / 2
    assert torch.equal(refine(target, start, h, round_half, block), refine(target, start, h, round_half))


def test_compensation_and_refinement_lose_less_than_rounding() -> None:
    target, h = weight(), hessian()
    rounded = (target * 2).round() / 2
    found = sweep(target, inverse_factor(h), round_half)
    refined = refine(target, found, h, round_half)
    assert loss(refined - target, h).sum() <= loss(found - target, h).sum() < loss(rounded - target, h).sum()


def test_refinement_never_raises_the_loss_of_a_row() -> None:
    target, h = weight(rows=40), hessian()
    found = (target * 2).round() / 2
    for _ in range(4):
        before, found = found, refine(target, found, h, round_half)
        assert (loss(found - target, h) <= loss(before - target, h) + 1e-9).all()


def test_the_target_is_the_least_squares_solution() -> None:
    given, dense_inputs, dense = inputs(), inputs() + 0.1 * inputs(seed=7), weight()
    h, cross = given @ given.mT, (dense_inputs - given) @ given.mT
    found = towards_dense(dense, cross, h)
    best = torch.linalg.lstsq(given[0].T, (dense @ dense_inputs)[0].T).solution.T
    assert torch.allclose(found[0], best)


def test_damping_makes_a_singular_hessian_solvable() -> None:
    h = torch.zeros(2, 4, 4, dtype=torch.float64)
    h[0, 0, 0] = 2.0
    found = damped(h, 0.01)
    assert found[0].diagonal().tolist() == pytest.approx([2.005, 0.005, 0.005, 0.005])
    assert found[1].diagonal().tolist() == [1.0] * 4
    inverse_factor(found)


def test_damping_makes_an_indefinite_hessian_solvable() -> None:
    """Rounding leaves the moments of nearly constant inputs indefinite; others keep their damping."""
    noise = torch.randn(16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    h = torch.stack([noise + noise.T + torch.eye(16), torch.eye(16)])
    found = damped(h, 0.01)
    inverse_factor(found)
    assert torch.equal(found[1], 1.01 * torch.eye(16, dtype=torch.float64))
