"""Warm-up before torch's schedulers, against closed formulas."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as torchs

from demitasse.errors import MethodError
from demitasse.optim import WarmUp

STEPS = 30
Make = Callable[[Optimizer], torchs.LRScheduler | None]
POLICIES: dict[str, tuple[Make, Callable[[int], float]]] = {
    "none": (lambda o: None, lambda i: 0.8),
    "cosine": (lambda o: torchs.CosineAnnealingLR(o, STEPS), lambda i: 0.4 * (1 + math.cos(math.pi * i / STEPS))),
    "step": (lambda o: torchs.StepLR(o, 7, 0.5), lambda i: 0.8 * 0.5 ** (i // 7)),
    "exponential": (lambda o: torchs.ExponentialLR(o, 0.9), lambda i: 0.8 * 0.9**i),
    "lambda": (lambda o: torchs.LambdaLR(o, lambda i: 1 / (1 + i)), lambda i: 0.8 / (1 + i)),
    "multistep": (lambda o: torchs.MultiStepLR(o, [5, 20], 0.1), lambda i: 0.8 * 0.1 ** ((i >= 5) + (i >= 20))),
    "polynomial": (lambda o: torchs.PolynomialLR(o, STEPS), lambda i: 0.8 * (1 - i / STEPS)),
}


def optimizer(rates: tuple[float, ...] = (0.8,)) -> SGD:
    groups = [{"params": [nn.Parameter(torch.ones(2))], "lr": rate} for rate in rates]
    return SGD(groups, lr=1.0)


def warmed(rate: float, i: int, steps: int, start: float, least: float) -> float:
    if i < steps:
        rate = min(rate, start + (rate - start) * i / steps)
    return max(rate, least)


def go(schedule: WarmUp) -> list[float]:
    schedule.optimizer.step()
    schedule.step()
    return schedule.get_last_lr()


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(("steps", "start", "least"), [(10, 0.0, 0.0), (10, 0.1, 0.05), (0, 0.0, 0.0), (8, 5.0, 0.0)])
def test_rates_follow_the_policy(name: str, steps: int, start: float, least: float) -> None:
    make, policy = POLICIES[name]
    one = optimizer()
    schedule = WarmUp(one, steps, make(one), start=start, min_lr=least)
    for i in range(STEPS):
        expected = warmed(policy(i), i, steps, start, least)
        assert schedule.get_last_lr() == [pytest.approx(expected, abs=1e-12)]
        assert one.param_groups[0]["lr"] == schedule.get_last_lr()[0]
        go(schedule)


def test_groups_keep_their_own_rates() -> None:
    one = optimizer((0.8, 0.2))
    schedule = WarmUp(one, 4, torchs.ExponentialLR(one, 0.5))
    assert go(schedule) == pytest.approx([0.8 * 0.5 / 4, 0.2 * 0.5 / 4])


def test_before_one_cycle_and_a_sequence() -> None:
    for make in (
        lambda o: torchs.OneCycleLR(o, 0.8, total_steps=STEPS + 1),
        lambda o: torchs.SequentialLR(o, [torchs.ConstantLR(o), torchs.ExponentialLR(o, 0.9)], [5]),
    ):
        plain, one = optimizer(), optimizer()
        alone, schedule = make(plain), WarmUp(one, 6, make(one))
        for i in range(STEPS):
            rate = plain.param_groups[0]["lr"]
            assert schedule.get_last_lr() == [pytest.approx(warmed(rate, i, 6, 0, 0))]
            go(schedule)
            plain.step()
            alone.step()


def test_before_reduce_on_plateau() -> None:
    one = optimizer()
    schedule = WarmUp(one, 2, torchs.ReduceLROnPlateau(one, factor=0.5, patience=0))
    rates = []
    for metric in (1.0, 1.0, 1.0, 0.5):
        schedule.step(metric)
        rates += schedule.get_last_lr()
    assert rates == pytest.approx([0.4, 0.4, 0.2, 0.2])


def test_a_plateau_is_told_its_metric_now_and_then() -> None:
    one = optimizer()
    schedule = WarmUp(one, 4, torchs.ReduceLROnPlateau(one, factor=0.5, patience=0))
    for _ in range(4):
        schedule.step()
    assert schedule.get_last_lr() == [0.8]
    for _ in range(3):
        schedule.step(1.0)
    assert schedule.get_last_lr() == [0.2]


def test_rates_set_from_outside_stay() -> None:
    one = optimizer()
    schedule = WarmUp(one, 2)
    for _ in range(3):
        go(schedule)
    one.param_groups[0]["lr"] = 0.01
    assert go(schedule) == [0.01]


def test_groups_added_later() -> None:
    one = optimizer()
    schedule = WarmUp(one, 4)
    go(schedule)
    one.add_param_group({"params": [nn.Parameter(torch.ones(2))], "lr": 0.4})
    assert go(schedule) == pytest.approx([0.4, 0.2])


def test_it_is_one_of_torchs_schedulers() -> None:
    assert isinstance(WarmUp(optimizer(), 3), torchs.LRScheduler)


@pytest.mark.parametrize("name", POLICIES)
def test_resume_is_exact(name: str) -> None:
    make, _ = POLICIES[name]
    one = optimizer()
    schedule = WarmUp(one, 10, make(one))
    states, rates = [], []
    for _ in range(STEPS):
        states.append(copy.deepcopy((one.state_dict(), schedule.state_dict())))
        rates.append(go(schedule))
    for start in (0, 4, 9, 15):
        other = optimizer()
        resumed = WarmUp(other, 10, make(other))
        other.load_state_dict(states[start][0])
        resumed.load_state_dict(states[start][1])
        assert [go(resumed) for _ in range(start, STEPS)] == rates[start:]


def test_a_rate_that_is_a_tensor_stays_one() -> None:
    one = SGD([nn.Parameter(torch.ones(2))], lr=torch.tensor(0.8))
    rate = one.param_groups[0]["lr"]
    schedule = WarmUp(one, 4)
    go(schedule)
    assert one.param_groups[0]["lr"] is rate
    assert rate.item() == pytest.approx(0.2)


def test_settings_without_meaning() -> None:
    one = optimizer()
    for arguments, message in (
        ({"steps": -1}, "steps is -1; expected 0 or more"),
        ({"steps": 2.5}, r"steps is 2\.5"),
        ({"steps": 1, "start": math.inf}, "start is inf"),
        ({"steps": 1, "start": -0.5}, r"start is -0\.5"),
        ({"steps": 1, "min_lr": float("nan")}, "min_lr is nan"),
        ({"steps": 1, "scheduler": torchs.ConstantLR(optimizer())}, "belongs to another optimizer"),
    ):
        with pytest.raises(MethodError, match=message):
            WarmUp(one, **arguments)  # type: ignore[arg-type]
    with pytest.raises(MethodError, match="the state has 2 groups without a scheduler; expected 1 groups without a"):
        WarmUp(one, 3).load_state_dict(WarmUp(optimizer((1, 2)), 3).state_dict())
