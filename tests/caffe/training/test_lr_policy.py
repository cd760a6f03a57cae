"""The learning-rate policies, warm-up and lower bound."""

from __future__ import annotations

import math

import pytest

from demitasse.caffe import schema
from demitasse.caffe.training.lr_policy import LR_POLICIES, current_step, learning_rate
from demitasse.errors import UnknownNameError, UsageError

SETTINGS = {"base_lr": 0.1, "gamma": 0.5, "power": 2.0, "stepsize": 10, "stepvalue": [5, 25], "max_iter": 100}
SETTINGS |= {"stagelr": [0.5, 0.25, 0.125], "stageiter": [4, 10, 20]}
EXPECTED = {
    "fixed": lambda i: 0.1,
    "step": lambda i: 0.1 * 0.5 ** (i // 10),
    "multistep": lambda i: 0.1 * 0.5 ** ((i >= 5) + (i >= 25)),
    "multifixed": lambda i: 0.5 if i <= 4 else 0.25 if i <= 10 else 0.125,
    "exp": lambda i: 0.1 * 0.5**i,
    "inv": lambda i: 0.1 * (1 + 0.5 * i) ** -2.0,
    "poly": lambda i: 0.1 * (1 - i / 100) ** 2.0,
    "sigmoid": lambda i: 0.1 / (1 + math.exp(-0.5 * (i - 10))),
}


def solver(policy, **settings):
    return schema.SolverParameter(lr_policy=policy, **{**SETTINGS, **settings})


@pytest.mark.parametrize("policy", list(LR_POLICIES))
def test_policy(policy):
    for iteration in (0, 4, 5, 9, 10, 25, 99):
        found = learning_rate(solver(policy), iteration)
        assert found == pytest.approx(EXPECTED[policy](iteration), rel=1e-5)


def test_a_warm_up_of_intels_fork_goes_to_base_lr():
    settings = {"warmup_iter": 4, "warmup_start_lr": 0.02}
    rates = [learning_rate(solver("step", **settings), iteration) for iteration in (0, 1, 3, 4, 10)]
    assert rates == pytest.approx([0.02, 0.04, 0.08, 0.1, 0.05])


def test_multifixed_needs_an_end_for_each_rate():
    with pytest.raises(UsageError, match="found 1 stageiter and 3 stagelr; lr_policy 'multifixed' expects one"):
        learning_rate(solver("multifixed", stageiter=[4]), 0)


def test_current_step():
    assert [current_step(solver("step"), i) for i in (0, 9, 10, 25)] == [0, 0, 1, 2]
    assert [current_step(solver("multistep"), i) for i in (4, 5, 24, 25)] == [0, 1, 1, 2]
    assert current_step(solver("inv"), 50) == 0


def test_warm_up_rises_to_the_policy_of_that_iteration():
    warm = solver("step", rampup_interval=20, rampup_lr=0.02)
    found = [learning_rate(warm, i) for i in (0, 5, 10, 20)]
    assert found == pytest.approx([0.02, 0.02 + 0.08 * 0.25, 0.02 + 0.03 * 0.5, 0.1 * 0.25])


def test_warm_up_from_above_changes_nothing():
    assert learning_rate(solver("fixed", rampup_interval=20, rampup_lr=0.5), 3) == pytest.approx(0.1)


def test_min_lr_is_the_last_word():
    low = solver("exp", min_lr=0.03, rampup_interval=4)
    assert [learning_rate(low, i) for i in (0, 50)] == pytest.approx([0.03, 0.03])


def test_poly_ends_at_zero():
    assert learning_rate(solver("poly"), 100) == 0
    assert learning_rate(solver("poly"), 150) == 0


@pytest.mark.parametrize(
    ("policy", "settings", "message"),
    [
        ("step", {"stepsize": 0}, "stepsize is 0; lr_policy 'step' expects 1 or more"),
        ("sigmoid", {"stepsize": -1}, "stepsize is -1; lr_policy 'sigmoid' expects 1 or more"),
        ("poly", {"max_iter": 0}, "max_iter is 0; lr_policy 'poly' expects 1 or more"),
        ("inv", {"gamma": -1, "power": 0.5}, "lr_policy 'inv' gives nan at iteration 7"),
    ],
)
def test_settings_without_meaning(policy, settings, message):
    with pytest.raises(UsageError, match=message):
        learning_rate(solver(policy, **settings), 7)


def test_unknown_policy():
    with pytest.raises(UnknownNameError, match="unknown lr_policy 'stp'; did you mean 'step'"):
        learning_rate(solver("stp"), 0)
