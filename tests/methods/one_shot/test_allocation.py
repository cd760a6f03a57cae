"""Bits distributed over layers."""

from __future__ import annotations

import math

import pytest

from demitasse.methods.one_shot import allocation


def test_bits_go_where_the_loss_is_and_the_average_stays() -> None:
    found = allocation.shifts({"a": 8.0, "b": 2.0, "c": 2.0}, {"a": 100, "b": 200, "c": 100})
    # losses of a weight 0.08, 0.01, 0.02, whose mean as logarithms is 0.02
    assert found == pytest.approx({"a": 1.0, "b": -0.5, "c": 0.0})


def test_no_layer_changes_by_more_than_the_limits() -> None:
    entries = {"a": 10, "b": 1000, "c": 300}
    found = allocation.shifts({"a": 1e9, "b": 1e-6, "c": 1e-3}, entries)
    assert found["a"] == allocation.MORE
    assert min(found.values()) >= -allocation.FEWER - 1e-9
    assert sum(entries[name] * shift for name, shift in found.items()) == pytest.approx(0, abs=1e-6)


def test_it_is_better_than_equal_bits_and_than_a_change_of_it() -> None:
    losses, entries = {"a": 3.0, "b": 4.5, "c": 1.7}, {"a": 100, "b": 300, "c": 50}

    def total(shifts: dict[str, float]) -> float:
        return sum(losses[name] * 4**-shift for name, shift in shifts.items())

    best = allocation.shifts(losses, entries)
    assert total(best) < total(dict.fromkeys(losses, 0.0))
    assert total(best) < total({**best, "a": best["a"] + 0.3, "b": best["b"] - 0.1})
    assert total(best) < total({**best, "a": best["a"] - 0.3, "b": best["b"] + 0.1})


def test_layers_without_loss_get_the_fewest() -> None:
    assert allocation.shifts({"a": 0.0, "b": 1.0}, {"a": 5, "b": 5}) == {"a": -allocation.FEWER, "b": pytest.approx(0)}
    assert math.isclose(sum(allocation.shifts({"a": 0.0}, {"a": 5}).values()), 0.0)


def test_a_limit_on_more_bits_takes_none_from_others() -> None:
    losses, entries = {"a": 3.0, "b": 4.5, "c": 1.7}, {"a": 100, "b": 300, "c": 50}
    assert allocation.shifts(losses, entries, 0.0) == pytest.approx(dict.fromkeys(losses, 0.0), abs=1e-6)
    limited = allocation.shifts(losses, entries, 0.1)
    assert max(limited.values()) == pytest.approx(0.1)
    assert sum(entries[name] * shift for name, shift in limited.items()) == pytest.approx(0, abs=1e-6)
