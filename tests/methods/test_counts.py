"""Order statistics and sums from counts, compared with what NumPy finds by sorting and in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from demitasse.methods import counts


def histogram(values: torch.Tensor) -> counts.Histogram:
    return lambda *digit: counts.histogram_of(values.view(torch.int32), *digit)


def kth(values: torch.Tensor, k: int) -> float:
    (limit,) = counts.smallest([histogram(values)], [len(values)], k)
    assert int((values < limit.bound).sum()) + limit.chosen == k
    return limit.bound


@pytest.mark.parametrize("k", [1, 2, 500, 999, 1000])
@pytest.mark.parametrize("kind", ["normal", "equal", "tiny", "huge", "zeros"])
def test_kth_smallest(k: int, kind: str) -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(k)).abs()
    values = {
        "normal": values,
        "equal": torch.full((1000,), 0.3),
        "tiny": values * 1e-42,
        "huge": values * 1e38,
        "zeros": torch.where(values < 0.5, 0.0, values),
    }[kind]
    assert kth(values, k) == np.sort(values.numpy())[k - 1]


def test_a_nan_is_larger_than_all() -> None:
    assert kth(torch.tensor([np.nan, 1.0, np.inf]), 2) == np.inf


def test_mean_and_deviation_of_non_zero_magnitudes() -> None:
    values = torch.randn(10001, generator=torch.Generator().manual_seed(0)) * 3e-3
    values[::3] = 0
    found = np.abs(values[values != 0].double().numpy())
    mean, deviation = counts.mean_and_deviation([(values, values)])
    assert mean == pytest.approx(found.mean(), rel=1e-9)
    assert deviation == pytest.approx(found.std(), rel=1e-7)


def test_sums_do_not_depend_on_order_and_parts() -> None:
    values = torch.randn(5000, generator=torch.Generator().manual_seed(0))
    whole = counts.mean_and_deviation([(values, values)])
    assert counts.mean_and_deviation([(values, values.flip(0))]) == whole
    assert counts.mean_and_deviation([(part, part) for part in values.split(1234)]) == whole


@pytest.mark.parametrize(("value", "expected"), [(0.0, (0.0, 0.0)), (0.25, (0.25, 0.0))])
def test_sums_of_equal_values(value: float, expected: tuple[float, float]) -> None:
    values = torch.full((100,), value)
    assert counts.mean_and_deviation([(values, values)]) == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_has_no_statistics(bad: float) -> None:
    values = torch.tensor([1.0, bad])
    assert np.isnan(counts.mean_and_deviation([(values, values)])).all()
