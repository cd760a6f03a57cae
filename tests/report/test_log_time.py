from __future__ import annotations

import math

import pytest

from demitasse.report.log_time import Clock


@pytest.mark.parametrize("day", ["1123", "20261123"])
def test_both_kinds_of_dates(day: str) -> None:
    clock = Clock()
    assert math.isnan(clock.seconds("not a line of the log"))
    assert clock.seconds(f"I{day} 08:27:37.250000 7 caffe.cpp:1] Use CPU.") == 0
    assert clock.seconds(f"I{day} 08:27:38.250000 7 solver.cpp:276] Solving net") == 0
    assert clock.seconds("  a line of the net") == 0
    assert clock.seconds(f"W{day} 09:27:38.5 7 solver.cpp:1] x") == 3600.25


def test_a_new_year_and_a_leap_day() -> None:
    clock = Clock()
    clock.seconds("I0228 00:00:00.0 7 a.cpp:1] x")
    assert clock.seconds("I0301 00:00:00.0 7 a.cpp:1] x") == 2 * 86400
    assert clock.seconds("I1231 00:00:00.0 7 a.cpp:1] x") == 307 * 86400
    assert clock.seconds("I0101 00:00:00.0 7 a.cpp:1] x") == 308 * 86400


def test_a_run_that_goes_on_keeps_its_start() -> None:
    clock = Clock()
    clock.seconds("I20260101 00:00:00.0 7 a.cpp:1] Solving net")
    assert clock.seconds("I20260101 00:01:00.0 8 a.cpp:1] Solving net") == 60


@pytest.mark.parametrize("line", ["I1350 00:00:00.0 7 a] x", "I0101 25:00:00.0 7 a] x", "I00000101 00:00:00.0 7 a] x"])
def test_dates_that_are_none(line: str) -> None:
    assert math.isnan(Clock().seconds(line))


@pytest.mark.parametrize(("year", "days"), [(2026, 1), (2028, 2)])
def test_the_year_says_whether_there_is_a_leap_day(year: int, days: int) -> None:
    clock = Clock(year)
    clock.seconds("I0228 00:00:00.0 7 a.cpp:1] x")
    assert clock.seconds("I0301 00:00:00.0 7 a.cpp:1] x") == days * 86400


def test_a_leap_day_that_the_year_does_not_have() -> None:
    clock = Clock(2026)
    clock.seconds("I0228 00:00:00.0 7 a.cpp:1] x")
    assert clock.seconds("I0229 00:00:00.0 7 a.cpp:1] x") == 86400
    assert clock.seconds("I0301 00:00:00.0 7 a.cpp:1] x") == 2 * 86400


def test_a_run_that_goes_on_in_the_spring_of_the_next_year() -> None:
    clock = Clock(2025)
    clock.seconds("I0801 00:00:00.0 7 a.cpp:1] x")
    assert clock.seconds("I0301 00:00:00.0 7 a.cpp:1] x") == 212 * 86400


def test_lines_out_of_order_are_of_one_year() -> None:
    clock = Clock(2026)
    clock.seconds("I0201 00:00:00.5 7 a.cpp:1] x")
    assert clock.seconds("I0131 23:59:59.5 7 a.cpp:1] x") == -1


@pytest.mark.parametrize(
    ("first", "second", "days"), [("0301", "20260302", 1), ("1231", "20270101", 1), ("0228", "20260301", 1)]
)
def test_a_log_may_begin_without_years_and_go_on_with_them(first: str, second: str, days: int) -> None:
    clock = Clock()
    clock.seconds(f"I{first} 00:00:00.0 7 a.cpp:1] x")
    assert clock.seconds(f"I{second} 00:00:00.0 7 a.cpp:1] x") == days * 86400
    assert clock.seconds(f"I{second} 00:00:01.0 7 a.cpp:1] x") == days * 86400 + 1
