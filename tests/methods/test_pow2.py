"""The grid of powers of two."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction

import numpy as np
import pytest
import torch

from demitasse.errors import MethodError
from demitasse.methods import pow2


def exact_exponent(value: float) -> int:
    """floor(log2(4 |w| / 3)) in rational arithmetic."""
    target, e = Fraction(4, 3) * Fraction(abs(value)), 0
    while Fraction(2) ** e > target:
        e -= 1
    while Fraction(2) ** (e + 1) <= target:
        e += 1
    return e


@pytest.mark.parametrize("e", [-30, -7, -1, 0, 3])
def test_exponent_changes_exactly_at_three_quarters(e):
    bound = np.float32(0.75 * 2.0**e)
    values = [np.nextafter(bound, np.float32(0)), bound, np.nextafter(bound, np.float32(9e9))]
    assert pow2.exponent(torch.tensor(np.array(values))).tolist() == [e - 1, e, e]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_exponent_agrees_with_rational_arithmetic(dtype):
    torch.manual_seed(0)
    values = (torch.randn(200) * 0.1).to(dtype)
    assert pow2.exponent(values).tolist() == [exact_exponent(v) for v in values.tolist()]


def test_grid_of_the_largest_value():
    assert pow2.grid(0.8, 7) == (-6, 0)
    assert pow2.grid(0.7, 7) == (-7, -1)
    assert pow2.grid(0.5, 8, frozen=True) == (-8, -1)
    with pytest.raises(MethodError, match="num_quantum_values is 0"):
        pow2.grid(1.0, 0)


def test_project_rounds_clips_and_drops():
    values = torch.tensor([0.0, -0.75, 0.749, 1.49, 1.5, -40.0, 0.124, -0.125, 0.187, 0.19])
    projected = pow2.project(values, pow2.Exponents(-2, 1))
    assert projected.tolist() == [0.0, -1.0, 0.5, 1.0, 2.0, -2.0, 0.0, -0.25, 0.25, 0.25]
    projected = pow2.project(values, pow2.Exponents(-2, 1), "fork")
    assert projected.tolist() == [0.0, -1.0, 0.5, 1.0, 2.0, -2.0, 0.0, 0.0, 0.0, 0.25]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_projection_is_the_nearest_point_of_the_grid_and_zero(dtype: torch.dtype) -> None:
    """Equation (4) with zero as the lower neighbour of the least power; a middle goes up."""
    points = torch.tensor([0.0, 0.25, 0.5, 1.0, 2.0], dtype=torch.float64)
    values = (torch.randn(2000, generator=torch.Generator().manual_seed(0)) * 0.7).to(dtype)
    values[:4] = torch.tensor([0.125, 0.375, 0.75, 1.5])
    distances = (values.double().abs()[:, None] - points).abs()
    nearest = points[(points.numel() - 1) - distances.flip(1).argmin(1)]
    assert torch.equal(pow2.project(values, pow2.Exponents(-2, 1)).double(), nearest * values.double().sign())


@pytest.mark.parametrize(
    ("bits", "rule", "zeros", "error"),
    [(3, "paper", 0.79, 0.49), (3, "fork", 0.94, 0.69), (4, "paper", 0.25, 0.05), (4, "fork", 0.36, 0.06)],
)
def test_zeros_and_relative_error_of_normal_weights(bits: int, rule: pow2.Rule, zeros: float, error: float) -> None:
    weights = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0)) * 0.1
    grid = pow2.grid(weights.abs().max().item(), pow2.levels_of_bits(bits))
    found = pow2.project(weights, grid, rule)
    assert (found == 0).double().mean().item() == pytest.approx(zeros, abs=0.006)
    assert ((found - weights).square().sum() / weights.square().sum()).item() == pytest.approx(error, abs=0.006)


def test_project_is_idempotent_and_lands_on_the_grid():
    torch.manual_seed(0)
    values = torch.randn(1000) * 0.1
    exponents = pow2.grid(values.abs().max().item(), 7)
    once = pow2.project(values, exponents)
    assert pow2.on_grid(once).all()
    assert not pow2.on_grid(values).all()
    assert torch.equal(pow2.project(once, exponents), once)
    levels = once[once != 0].abs().log2().unique()
    assert levels.min() >= exponents.least
    assert levels.max() == exponents.largest


def test_bits():
    assert [pow2.levels_of_bits(bits) for bits in (2, 3, 4, 5)] == [1, 2, 4, 8]
    assert [pow2.bits_of_levels(levels) for levels in (1, 2, 4, 7, 8)] == [2, 3, 4, 4, 5]
    with pytest.raises(MethodError, match="1 bits"):
        pow2.levels_of_bits(1)


@pytest.mark.parametrize("bits", [14, 33, 64, 10**9, 4.5, 4.0, "4", math.nan, True, None])
def test_bits_without_meaning(bits: object) -> None:
    with pytest.raises(MethodError, match="bits is "):
        pow2.levels_of_bits(bits)  # type: ignore[arg-type]


def test_exponents_are_a_number_or_a_pair() -> None:
    assert pow2.levels_of_exponents(7) == (7, None)
    assert pow2.levels_of_exponents((-7, -1)) == (7, -1)


@pytest.mark.parametrize(
    "exponents", [0, -1, 2.0, True, "7", math.nan, (1, 0), (math.nan, 1), (0.5, 1), (0, None), (1,), (1, 2, 3), {1, 2}]
)
def test_exponents_without_meaning(exponents: object) -> None:
    with pytest.raises(MethodError, match="exponents is "):
        pow2.levels_of_exponents(exponents)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_powers_of_a_type(dtype: torch.dtype) -> None:
    least, largest = pow2.exponents_of_type(dtype)
    ends = torch.tensor([2.0**least, 2.0 ** min(largest, 1023)], dtype=torch.float64).to(dtype)
    assert torch.equal(ends.double(), torch.tensor([2.0**least, 2.0**largest], dtype=torch.float64))
    assert not (torch.tensor(2.0**least, dtype=torch.float64) / 2).to(dtype).item()


def test_a_grid_beyond_a_type() -> None:
    pow2.check_levels(40, None, torch.float16, "fc")
    pow2.check_levels(40, 15, torch.float16, "fc")
    with pytest.raises(MethodError, match="fc: a grid of 41 powers of two is beyond float16, which has 40"):
        pow2.check_levels(41, None, torch.float16, "fc")
    for levels, largest in ((2, 16), (2, -24), (101, 300)):
        with pytest.raises(MethodError, match="beyond"):
            pow2.check_levels(levels, largest, torch.float16, "fc")


def test_largest_denormal_and_huge_values():
    assert pow2.exponent(torch.tensor([1e-45, 3e38])).tolist() == [exact_exponent(v) for v in (1.4e-45, 3e38)]
    assert math.isfinite(pow2.project(torch.tensor([3e38]), pow2.Exponents(120, 127)).item())


@pytest.mark.parametrize("sizes", [(0.19, 0.17, 0.21), (0.7,), (3.0, 3.1)])
def test_the_best_factor_moves_values_to_a_power_of_two(sizes):
    values = torch.tensor([*sizes, *(-size for size in sizes), 0.0])
    factor = pow2.best_factor(values, 1)
    assert 2**-0.5 <= factor <= 2**0.5
    middle = factor * math.exp(statistics.fmean(map(math.log, sizes)))
    assert abs(math.log2(middle) - round(math.log2(middle))) < 0.03


def test_the_best_factor_of_zeros_and_of_two_sizes():
    assert pow2.best_factor(torch.zeros(3), 2) == 1.0
    both = torch.tensor([0.3, 0.6])
    factor = pow2.best_factor(both, 2)
    assert torch.allclose(pow2.project(factor * both, pow2.Exponents(-2, -1)), factor * both, rtol=0.02)
