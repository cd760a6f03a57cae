"""The compression of one layer."""

from __future__ import annotations

import pytest
import torch

from demitasse.methods import pow2
from demitasse.methods.one_shot.layer import Freedom, Grid, compress
from demitasse.methods.one_shot.moments import loss
from tests.methods.one_shot.problems import inputs, statistics, weight

ONES = torch.ones(1, 8, dtype=torch.float64)


def test_the_loss_falls_with_bits() -> None:
    target, given = weight(8, 24), statistics(inputs(24))
    for kind in ("pow2", "uniform"):
        losses = [float(compress(target, given, ONES, grid=Grid(kind, n)).loss.sum()) for n in (1, 2, 4, 8)]
        assert losses == sorted(losses, reverse=True)


def test_the_loss_rises_with_zeros_and_their_count_is_exact() -> None:
    target, given = weight(8, 24), statistics(inputs(24))
    found = [compress(target, given, ONES, cut=cut) for cut in (0, 40, 96, 150)]
    assert [int((one.weight == 0).sum()) for one in found] == [0, 40, 96, 150]
    losses = [float(one.loss.sum()) for one in found]
    assert losses == sorted(losses)
    assert losses[0] < 1e-12


def test_values_are_on_the_grid() -> None:
    target, given = weight(8, 24), statistics(inputs(24))
    for freedom in (Freedom(), Freedom(True, True)):
        found = compress(target, given, ONES, grid=Grid("pow2", 4), freedom=freedom).weight
        assert pow2.on_grid(found).all()
        assert len(found.abs().unique()) <= 5
        steps = compress(target, given, ONES, grid=Grid("uniform", 7), freedom=freedom).weight
        assert len(steps.abs().unique()) <= 8
    rows = compress(target, given, ONES, grid=Grid("pow2", 2, "channel")).weight
    assert all(len(row.abs().unique()) <= 3 for row in rows[0])


def test_a_free_scale_loses_less() -> None:
    target, given = weight(8, 24), statistics(inputs(24))
    bound = compress(target, given, ONES, grid=Grid("pow2", 2))
    free = compress(target, given, ONES, grid=Grid("pow2", 2), freedom=Freedom(True, True))
    assert free.loss.sum() < bound.loss.sum()
    assert (bound.factor == 1).all()


def test_the_reported_loss_is_that_of_the_outputs() -> None:
    target, given = weight(8, 24), inputs(24) + 1.0
    found = compress(target, statistics(given), ONES, grid=Grid("pow2", 2), freedom=Freedom(True, True), damping=1e-9)
    outputs = found.weight @ given * found.factor.unsqueeze(2) + found.shift.unsqueeze(2)
    error = (outputs - target @ given).square().mean(2)
    assert torch.allclose(error, found.loss, rtol=1e-4)


def test_a_price_saves_bits_and_costs_loss() -> None:
    target, given = weight(8, 24), statistics(inputs(24))
    cheap, dear = (compress(target, given, ONES, grid=Grid("uniform", None), price=p) for p in (1e-3, 1e-1))
    assert len(dear.weight.unique()) < len(cheap.weight.unique())
    assert dear.loss.sum() > cheap.loss.sum()


def test_cut_weights_stay_zero_on_the_grid() -> None:
    target, given = weight(8, 24), statistics(inputs(24))
    zeros = torch.rand(target.shape, generator=torch.Generator().manual_seed(0)) < 0.4
    found = compress(target, given, ONES, grid=Grid("pow2", 4), zeros=zeros)
    assert not found.weight[zeros].any()


def test_a_layer_of_zeros_and_dead_inputs() -> None:
    given = inputs(24)
    given[:, 3] = 0
    target = weight(8, 24)
    target[:, 2] = 0
    for grid in (None, Grid("pow2", 4), Grid("uniform", 7)):
        found = compress(target, statistics(given), ONES, grid=grid, cut=96, freedom=Freedom(True, True))
        assert found.weight.isfinite().all()
        assert found.factor.isfinite().all()
        assert not found.weight[:, 2].any()


@pytest.mark.parametrize("groups", [2, 24])
def test_groups_are_layers_of_their_own(groups: int) -> None:
    target, given = weight(3, 9, groups), inputs(9, groups=groups)
    ones = torch.ones(groups, 3, dtype=torch.float64)
    whole = compress(target, statistics(given), ones, grid=Grid("pow2", 4, "channel"))
    for group in (0, groups - 1):
        part = slice(group, group + 1)
        own = compress(target[part], statistics(given[part]), ones[part], grid=Grid("pow2", 4, "channel"))
        assert torch.equal(own.weight, whole.weight[part])


def test_the_dense_outputs_are_the_target() -> None:
    target, dense = weight(8, 24), inputs(24)
    given = dense + 0.5 * inputs(24, seed=5)
    found = statistics(given, dense)
    errors = []
    for asymmetry in (0.0, 1.0):
        one = compress(target, found, ONES, grid=Grid("pow2", 8), asymmetry=asymmetry).weight
        errors.append(float((one @ given - target @ dense).square().sum()))
    assert errors[1] < errors[0]
    assert float(loss(target, found.hessian / found.count).sum()) > 0
