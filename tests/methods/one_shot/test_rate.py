"""Predicted bits of weights on a uniform grid."""

from __future__ import annotations

import pytest
import torch

from demitasse.methods.one_shot import codebooks, rate


def test_without_a_price_they_are_the_entropy_of_the_rounded_weight() -> None:
    weight = torch.randn(2, 5, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = torch.full((2, 5), 0.5, dtype=torch.float64)
    numbers = (weight / 0.5).round().long()
    largest = int(numbers.abs().max())
    prices = codebooks.bits(numbers + largest, 2 * largest + 1)
    expected = float(prices[numbers + largest].sum())
    assert rate.bits(weight, step, torch.ones_like(weight), 0.0) == pytest.approx(expected)


def test_a_higher_price_takes_fewer_bits_though_the_step_is_the_same() -> None:
    weight = torch.randn(1, 4, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = torch.full((1, 4), 0.5, dtype=torch.float64)
    found = [rate.bits(weight, step, torch.ones_like(weight), price) for price in (0.0, 0.03, 0.1, 0.3)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.95 * found[0]
