"""The formulas of Dynamic Network Surgery."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from demitasse.errors import MethodError
from demitasse.methods import surgery


def test_statistics_are_of_kept_nonzero_entries_of_all_tensors():
    weight, bias = torch.tensor([[3.0, -1.0], [0.0, 9.0]]), torch.tensor([2.0, 0.0])
    masks = [torch.tensor([[True, True], [True, False]]), torch.tensor([True, True])]
    found = surgery.statistics([weight, bias], masks)
    magnitudes = np.array([3.0, 1.0, 2.0])
    assert found.mean == pytest.approx(magnitudes.mean())
    assert found.deviation == pytest.approx(magnitudes.std())


def test_statistics_sum_one_after_the_other_in_float32():
    weight = torch.full((1 << 16,), 0.1)
    total = np.float32(0)
    for value in weight.numpy():
        total += value
    found = surgery.statistics([weight], [torch.ones_like(weight, dtype=torch.bool)])
    assert found.mean == total / np.float32(1 << 16)
    assert found.mean != np.float32(weight.double().mean())


def test_statistics_follow_logical_order_whatever_the_memory_format():
    torch.manual_seed(0)
    weight = torch.randn(8, 6, 5, 5)
    ones = torch.ones_like(weight, dtype=torch.bool)
    last = weight.to(memory_format=torch.channels_last)
    assert surgery.statistics([last], [ones]) == surgery.statistics([weight], [ones])


def test_statistics_of_nothing_and_of_equal_magnitudes():
    zeros = torch.zeros(5)
    assert surgery.statistics([zeros], [zeros == 0]) == surgery.Statistics(0.0, 0.0)
    equal = torch.full((1000,), 0.3)
    assert surgery.statistics([equal], [equal > 0]).deviation < 1e-3


@pytest.mark.parametrize(("c_rate", "expected"), [(2.0, 2.0), (0.0, 1.0), (-3.0, 0.0)])
def test_threshold(c_rate, expected):
    assert surgery.threshold(surgery.Statistics(1.0, 0.5), c_rate) == expected


def test_probability():
    assert surgery.probability(0, 0.001, 1) == 1
    assert surgery.probability(1000, 0.001, 1) == pytest.approx(0.5)
    assert surgery.probability(3000, 0.001, 2) == pytest.approx(1 / 16)
    assert surgery.probability(10**6, 0, 1) == 1


def test_decide_cuts_splices_and_leaves_the_middle():
    weight = torch.tensor([0.5, -1.0, 1.5, -2.0, 2.5])
    kept, cut = torch.ones(5, dtype=torch.bool), torch.zeros(5, dtype=torch.bool)
    assert surgery.decide(weight, kept, 1.0, 2.0).tolist() == [False, False, True, True, True]
    assert surgery.decide(weight, cut, 1.0, 2.0).tolist() == [False, False, False, False, True]


def test_decide_keeps_nan():
    nan = torch.tensor([math.nan, math.nan])
    assert surgery.decide(nan, torch.tensor([True, False]), 1.0, 2.0).all()


def test_schedule_operates():
    always = surgery.Schedule(c_rate=1, gamma=0, iter_stop=3)
    assert [always.operates(i, 0.999) for i in range(5)] == [True, True, True, False, False]
    assert not surgery.Schedule(c_rate=1, gamma=0, iter_stop=-1).operates(0, 0.0)
    rare = surgery.Schedule(c_rate=1, gamma=1, power=1)
    assert rare.operates(1, 0.49)
    assert not rare.operates(1, 0.5)


def test_bounds_enclose_the_threshold():
    low, high = surgery.Schedule(c_rate=2).bounds(surgery.Statistics(1.0, 0.5))
    assert (low, high) == (pytest.approx(1.9), pytest.approx(2.1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"c_rate": math.nan}, "c_rate is NaN"),
        ({"c_rate": 1, "power": math.nan}, "power is NaN"),
        ({"c_rate": 1, "gamma": -0.1}, r"gamma is -0\.1; expected 0 or more"),
        ({"c_rate": 1, "alpha_low": 1.2, "alpha_high": 1.1}, r"alpha_low is 1\.2 and alpha_high 1\.1"),
        ({"c_rate": 1, "alpha_low": -1}, "expected 0 <= alpha_low"),
    ],
)
def test_settings_without_meaning(settings, message):
    with pytest.raises(MethodError, match=message):
        surgery.Schedule(**settings)
