"""Codebooks, their nearest and cheapest entries, and scales."""

from __future__ import annotations

import pytest
import torch

from demitasse.methods import pow2
from demitasse.methods.one_shot import codebooks, scales
from tests.methods.one_shot.problems import weight


def test_the_nearest_power_is_that_of_the_paper() -> None:
    values = torch.cat([weight(40, 50).flatten(), torch.tensor([0.0, 0.75, 1.5, 0.0625, 0.0626, 9.0])])
    book = codebooks.powers(0, 4)
    assert book.tolist() == [-1, -0.5, -0.25, -0.125, 0, 0.125, 0.25, 0.5, 1]
    found = book[codebooks.nearest(values, book)]
    assert torch.equal(found.abs(), pow2.project(values.double(), pow2.Exponents(-3, 0)).abs())


def test_the_cheapest_is_the_nearest_without_prices_and_the_cheap_one_with_high_ones() -> None:
    values, book = weight(6, 7)[0], codebooks.integers(3)
    curvature = torch.ones_like(values)
    plain = codebooks.cheapest(values, book, curvature, torch.zeros(7, dtype=torch.float64))
    assert torch.equal(plain, codebooks.nearest(values, book))
    prices = torch.full((7,), 1e9, dtype=torch.float64)
    prices[3] = 0
    assert (codebooks.cheapest(values, book, curvature, prices) == 3).all()


def test_prices_are_bits() -> None:
    numbers = torch.arange(4).repeat(10_000)
    assert codebooks.bits(numbers, 4).tolist() == pytest.approx([2.0] * 4)


def test_the_search_finds_the_scale() -> None:
    book = codebooks.integers(3)
    true = torch.tensor([[0.5, 2.0]], dtype=torch.float64)
    drawn = torch.randint(-3, 4, (1, 2, 50), generator=torch.Generator().manual_seed(0)).double()
    candidates = torch.stack([true * 2 ** (k / 4) for k in range(-4, 5)])
    ones = torch.ones_like(drawn)
    assert torch.equal(scales.search(drawn * true.unsqueeze(2), ones, book, candidates), true)
    shared = scales.search(drawn * 0.5, ones, book, torch.stack([true * 0 + s for s in (0.25, 0.5, 1.0)]), shared=True)
    assert shared.tolist() == [[0.5, 0.5]]


def test_the_best_factor_is_that_of_least_squares() -> None:
    target = weight()
    fixed = target.round()
    h = torch.eye(12, dtype=torch.float64).unsqueeze(0)
    found = scales.best(target, fixed, h)
    assert torch.allclose(found, (target * fixed).sum(2) / fixed.square().sum(2))
    assert scales.best(target, torch.zeros_like(target), h).tolist() == [[1.0] * 5]
