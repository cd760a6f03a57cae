"""The formulas of freezing a tensor, as the Caffe layers use them."""

from __future__ import annotations

import math

import pytest
import torch

from demitasse.errors import MethodError
from demitasse.methods import freezing, pow2
from demitasse.methods.freezing import Portions


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.3, 0.6], (0.3, 0.6)), ([0.5], (0, 0.5)), ([0, 1, 0.2], (0, 1)), ([0.4, 0.4], (0.4, 0.4))],
)
def test_portions(values, expected):
    assert freezing.portions(values) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "portion is missing"),
        ([0.6, 0.3], r"portion decreases from 0\.6 to 0\.3"),
        ([0.5, 1.5], r"portion is 1\.5; expected a share"),
        ([math.nan], "portion is nan"),
    ],
)
def test_portions_without_meaning(values, message):
    with pytest.raises(MethodError, match=message):
        freezing.portions(values)


@pytest.mark.parametrize(
    ("free", "step", "keep"),
    [
        (100, (0, 0.3), 70),
        (5, (0, 0.5), 3),  # 2.5 goes away from zero; Python's round gives 2
        (7, (0, 0.5), 4),
        (70, (0.3, 0.6), 40),
        (40, (0.6, 1), 0),
        (40, (0.4, 0.4), 40),
        (10, (1, 1), 0),
    ],
)
def test_remaining(free, step, keep):
    assert freezing.remaining(free, Portions(*step)) == keep


def test_partition_takes_the_largest_free_ones_with_ties():
    weight = torch.tensor([5.0, -4.0, 3.0, 3.0, -1.0, 9.0])
    free = torch.tensor([True, True, True, True, True, False])
    assert freezing.partition(weight, free, 2).tolist() == [True, True, True, True, False, False]
    assert freezing.partition(weight, free, 3).tolist() == [True, True, False, False, False, False]
    assert not freezing.partition(weight, free, 5).any()
    assert freezing.partition(weight, free, 0).tolist() == free.tolist()


def test_freeze_in_two_steps():
    weight = torch.tensor([0.9, -0.5, 0.3, 0.05, -0.02])
    free = torch.ones(5, dtype=torch.bool)
    first = freezing.freeze(weight, free, Portions(0, 0.4), 3)
    assert first == freezing.Frozen(pow2.Exponents(-2, 0), 5, 3)
    assert weight.tolist() == pytest.approx([1.0, -0.5, 0.3, 0.05, -0.02])
    assert free.tolist() == [False, False, True, True, True]
    weight[2:] = torch.tensor([3.0, 0.2, -0.02])  # trained on; one outgrew the grid
    second = freezing.freeze(weight, free, Portions(0.4, 1), 3)
    assert second == freezing.Frozen(pow2.Exponents(-2, 0), 3, 0, clipped=1)
    assert weight.tolist() == [1.0, -0.5, 1.0, 0.25, 0.0]
    assert not free.any()


def test_freeze_after_surgery_takes_the_grid_from_what_is_free():
    weight, free = torch.tensor([0.0, 0.0, 0.3, 0.1]), torch.tensor([False, False, True, True])
    done = freezing.freeze(weight, free, Portions(0, 0.5), 7)
    assert done.exponents == pow2.grid(0.3, 7)
    assert free.tolist() == [False, False, False, True]


@pytest.mark.parametrize("free", [True, False])
def test_freeze_skips_what_is_all_zero(free):
    weight, mask = torch.zeros(4), torch.full((4,), free)
    assert freezing.freeze(weight, mask, Portions(0, 0.5), 7).exponents is None
    assert not weight.any()


def test_freeze_nothing():
    weight, free = torch.tensor([0.3, 0.1]), torch.ones(2, dtype=torch.bool)
    before = weight.clone()
    freezing.freeze(weight, free, Portions(0, 0), 7)
    freezing.freeze(weight, free, Portions(0.5, 0.5), 7)
    assert torch.equal(weight, before)
    assert free.all()


def test_freeze_counts_zeros_as_fitting():
    weight, free = torch.tensor([0.001, 0.0]), torch.ones(2, dtype=torch.bool)
    assert freezing.freeze(weight, free, Portions(0, 1), 7).clipped == 0
    assert weight[1] == 0


def test_freeze_refuses_what_cannot_be_quantized():
    free = torch.tensor([False, True])
    with pytest.raises(MethodError, match="neither zero nor a power of two"):
        freezing.freeze(torch.tensor([0.3, 0.1]), free, Portions(0, 1), 7)
    with pytest.raises(MethodError, match="largest weight is nan"):
        freezing.freeze(torch.tensor([0.5, math.nan]), free | True, Portions(0, 1), 7)


def test_frozen_share():
    weight, free = torch.tensor([0.5, 0.0, 0.3, 0.2]), torch.tensor([False, False, True, True])
    assert freezing.frozen_share(weight, free) == pytest.approx(1 / 3)
    assert freezing.frozen_share(torch.zeros(2), torch.zeros(2, dtype=torch.bool)) == 1


def test_freeze_refuses_a_power_beyond_the_type():
    with pytest.raises(MethodError, match=r"nearest to 2\^128; the largest of float32 is 2\^127"):
        freezing.freeze(torch.tensor([3.3e38, 0.1]), torch.ones(2, dtype=torch.bool), Portions(0, 1), 7)


def test_freeze_ends_zero_where_the_fork_does():
    weight = torch.tensor([1.0, 0.37, 0.38])
    freezing.freeze(weight, torch.ones(3, dtype=torch.bool), Portions(0, 1), 2)
    assert weight.tolist() == [1.0, 0.0, 0.5]
