"""One suite over every registered learning rate policy: what each must do, whatever its curve."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest

from demitasse.caffe import schema
from demitasse.caffe.training.lr_policy import LR_POLICIES, learning_rate
from demitasse.errors import UsageError


class Policy(NamedTuple):
    """A policy with its settings, its formula in float64, and settings that it must refuse at iteration 1000."""

    settings: dict[str, object]
    formula: Callable[[int], float]
    wrong: tuple[dict[str, object], ...]


ENDLESS = {"base_lr": math.inf}
POLICIES = {
    "fixed": Policy({}, lambda i: 0.1, (ENDLESS,)),
    "step": Policy({"stepsize": 30}, lambda i: 0.1 * 0.8 ** (i // 30), ({}, {"stepsize": -1}, ENDLESS)),
    "multistep": Policy({"stepvalue": [5, 50]}, lambda i: 0.1 * 0.8 ** ((i >= 5) + (i >= 50)), (ENDLESS,)),
    "multifixed": Policy(
        {"stagelr": [0.4, 0.2], "stageiter": [4, 10]},
        lambda i: 0.4 if i <= 4 else 0.2,
        ({}, {"stagelr": [1.0]}, {"stagelr": [1.0], "stageiter": [1, 2]}),
    ),
    "exp": Policy({}, lambda i: 0.1 * 0.8**i, ({"gamma": 2.0}, ENDLESS)),
    "inv": Policy({}, lambda i: 0.1 * (1 + 0.8 * i) ** -0.75, ({"gamma": -0.001}, ENDLESS)),
    "poly": Policy(
        {"max_iter": 80},
        lambda i: 0.1 * max(1 - i / 80, 0.0) ** 0.75,
        ({}, {"max_iter": -1}, {**ENDLESS, "max_iter": 9}),
    ),
    "sigmoid": Policy(
        {"stepsize": 20}, lambda i: 0.1 / (1 + math.exp(-0.8 * (i - 20))), ({}, {"stepsize": 20, **ENDLESS})
    ),
}
ITERATIONS = [0, 1, 4, 5, 10, 11, 29, 30, 79, 80, 81, 1000]

each = pytest.mark.parametrize("name", list(LR_POLICIES))


def solver(name: str, settings: dict[str, object]) -> schema.Message:
    return schema.SolverParameter(**{"lr_policy": name, "base_lr": 0.1, "gamma": 0.8, "power": 0.75, **settings})


def test_every_policy_is_here():
    assert set(POLICIES) == set(LR_POLICIES), "give the new policy a line in POLICIES"


@each
def test_rates_are_those_of_the_formula(name):
    param = solver(name, POLICIES[name].settings)
    for iteration in ITERATIONS:
        found = learning_rate(param, iteration)
        assert type(found) is float
        assert 0 <= found < math.inf
        assert found == pytest.approx(POLICIES[name].formula(iteration), rel=1e-4, abs=1e-30)


@each
def test_a_rate_depends_on_the_iteration_alone(name):
    """A resumed run asks for the rest of the iterations only, perhaps in another process."""
    param = solver(name, POLICIES[name].settings)
    before = param.SerializeToString()
    forward = [learning_rate(param, iteration) for iteration in ITERATIONS]
    fresh = [learning_rate(solver(name, POLICIES[name].settings), iteration) for iteration in reversed(ITERATIONS)]
    assert forward == fresh[::-1]
    assert param.SerializeToString() == before


@each
def test_bounds_and_warm_up_hold_for_all(name):
    settings = POLICIES[name].settings
    assert min(learning_rate(solver(name, {**settings, "min_lr": 0.15}), i) for i in ITERATIONS) >= 0.15 - 1e-7
    warm = solver(name, {**settings, "rampup_interval": 10, "rampup_lr": 0.01})
    assert learning_rate(warm, 0) == pytest.approx(min(0.01, POLICIES[name].formula(0)))
    assert learning_rate(warm, 11) == learning_rate(solver(name, settings), 11)


@pytest.mark.parametrize(
    ("name", "settings"), [(name, wrong) for name in LR_POLICIES if name in POLICIES for wrong in POLICIES[name].wrong]
)
def test_settings_without_meaning_are_wrong_use(name, settings):
    with pytest.raises(UsageError, match=f"lr_policy '{name}'"):
        learning_rate(solver(name, settings), 2000)
