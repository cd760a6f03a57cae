"""Ramps and draws."""

from __future__ import annotations

import numpy as np
import pytest

from demitasse.errors import MethodError
from demitasse.methods.schedule import Ramp, uniform


def test_the_ramp_is_cubic_and_ends_at_its_target() -> None:
    ramp = Ramp(begin=10, steps=100)
    assert [ramp.share(step) for step in (0, 9)] == [0, 0]
    assert ramp.share(59) == pytest.approx(1 - 0.5**3)
    assert ramp.end == 109
    assert [ramp.share(step) for step in (109, 110, 10**9)] == [1, 1, 1]
    assert (np.diff([ramp.share(step) for step in range(9, 110)]) > 0).all()


def test_a_ramp_of_no_steps() -> None:
    assert [Ramp(3, 0).share(step) for step in (2, 3)] == [0, 1]


@pytest.mark.parametrize(("begin", "steps"), [(-1, 5), (0, -5)])
def test_negative_steps(begin: int, steps: int) -> None:
    with pytest.raises(MethodError, match="expected a number of steps"):
        Ramp(begin, steps)


def test_draws_depend_on_seed_and_step_alone() -> None:
    draws = np.array([uniform(seed, step) for seed in range(3) for step in range(1000)])
    assert draws.tolist() == [uniform(seed, step) for seed in range(3) for step in range(1000)]
    assert len(set(draws)) == 3000
    assert draws.mean() == pytest.approx(0.5, abs=0.02)
