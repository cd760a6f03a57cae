"""The update rules, compared with their formulas written out in float64."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.training.optimizers import OPTIMIZERS
from demitasse.errors import UnknownNameError, UsageError
from tests.golden.single import single_net

RATE, MOMENTUM, DELTA = 0.1, 0.9, 1e-3
START = np.array([[0.5, -1.0], [2.0, 0.25]])
GRADIENTS = [np.array([[0.3, -0.2], [0.0, 1.5]]), np.array([[-0.1, 0.4], [0.7, -0.5]])]


def network(params=""):
    net = single_net("InnerProduct", f"inner_product_param {{ num_output: 2 }} {params}", (1, 2))
    with torch.no_grad():
        net.layer("l").weight.copy_(torch.tensor(START))
    return net


def optimizer(net, **settings):
    param = schema.SolverParameter(momentum=MOMENTUM, delta=DELTA)
    param.MergeFrom(schema.SolverParameter(**settings))
    return OPTIMIZERS[param.type](net, param)


def run(net, **settings):
    """Takes a step for each of GRADIENTS; returns the weights after each."""
    rule, weight, found = optimizer(net, **settings), net.layer("l").weight, []
    for iteration, gradient in enumerate(GRADIENTS):
        weight.grad = torch.tensor(gradient, dtype=torch.float32)
        rule.step(RATE, iteration)
        found.append(weight.detach().double().numpy().copy())
    return found


def sgd(w, g, state, t):
    state["v"] = MOMENTUM * state.get("v", 0) + RATE * g
    return w - state["v"]


def nesterov(w, g, state, t):
    before = state.get("v", np.zeros_like(w))
    state["v"] = MOMENTUM * before + RATE * g
    return w - ((1 + MOMENTUM) * state["v"] - MOMENTUM * before)


def adagrad(w, g, state, t):
    state["s"] = state.get("s", 0) + g**2
    return w - RATE * g / (np.sqrt(state["s"]) + DELTA)


def rmsprop(w, g, state, t):
    state["s"] = 0.98 * state.get("s", 0) + 0.02 * g**2
    return w - RATE * g / (np.sqrt(state["s"]) + DELTA)


def adadelta(w, g, state, t):
    s, u = state.get("s", 0), state.get("u", 0)
    s = MOMENTUM * s + (1 - MOMENTUM) * g**2
    d = g * np.sqrt((u + DELTA) / (s + DELTA))
    state.update(s=s, u=MOMENTUM * u + (1 - MOMENTUM) * d**2)
    return w - RATE * d


def adam(w, g, state, t):
    state["m"] = MOMENTUM * state.get("m", 0) + (1 - MOMENTUM) * g
    state["s"] = 0.99 * state.get("s", 0) + 0.01 * g**2
    correction = math.sqrt(1 - 0.99**t) / (1 - MOMENTUM**t)
    return w - RATE * correction * state["m"] / (np.sqrt(state["s"]) + DELTA)


def lars(w, g, state, t):
    local = 0.02 * np.linalg.norm(w) / (np.linalg.norm(g) + 0.01 * np.linalg.norm(w))
    state["v"] = MOMENTUM * state.get("v", 0) + RATE * local * g
    return w - state["v"]


RULES = [
    (sgd, {"type": "SGD"}),
    (nesterov, {"type": "Nesterov"}),
    (adagrad, {"type": "AdaGrad", "momentum": 0}),
    (rmsprop, {"type": "RMSProp", "momentum": 0, "rms_decay": 0.98}),
    (adadelta, {"type": "AdaDelta"}),
    (adam, {"type": "Adam", "momentum2": 0.99}),
    (lars, {"type": "LarsSGD", "local_gw_ratio": 0.02}),
]


@pytest.mark.parametrize("regularization", ["L1", "L2"])
@pytest.mark.parametrize(("rule", "settings"), RULES, ids=[rule.__name__ for rule, _ in RULES])
def test_rule(rule, settings, regularization):
    found = run(network("param { decay_mult: 3 }"), weight_decay=0.01, regularization_type=regularization, **settings)
    w, state = START, {}
    for t, g in enumerate(GRADIENTS, 1):
        w = rule(w, g + 0.03 * (np.sign(w) if regularization == "L1" else w), state, t)
        np.testing.assert_allclose(found[t - 1], w, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "Adam", "AdaDelta"])
def test_lr_mult_scales_the_step(kind):
    one, three = (run(network(f"param {{ lr_mult: {m} }}"), type=kind)[0] for m in (1, 3))
    np.testing.assert_allclose(three - START, 3 * (one - START), rtol=1e-5, atol=1e-6)


def test_lars_ignores_lr_mult_and_decays_what_has_no_gradient():
    np.testing.assert_array_equal(
        run(network("param { lr_mult: 5 }"), type="LarsSGD")[1], run(network(), type="LarsSGD")[1]
    )
    net = network("param { lr_mult: 0 }")
    assert not net.layer("l").weight.requires_grad
    optimizer(net, type="LarsSGD", weight_decay=0.1).step(RATE, 0)
    assert net.layer("l").weight.norm() < np.linalg.norm(START)


def test_lr_mult_zero_stays():
    net = network("param { lr_mult: 0 }")
    optimizer(net, weight_decay=0.1).step(RATE, 0)
    np.testing.assert_array_equal(net.layer("l").weight.detach().numpy(), START)


def test_clipping_takes_the_norm_of_the_sum(caplog):
    net = network()
    net.layer("l").weight.grad = torch.tensor([[3.0, 0], [0, 0]])
    net.layer("l").bias.grad = torch.tensor([4.0, 0])
    with caplog.at_level(logging.INFO, "demitasse.caffe"):
        optimizer(net, clip_gradients=2.5, iter_size=2, momentum=0).step(1.0, 0)
    # norm 5 over weight and bias, so by 0.5; then halved
    assert net.layer("l").bias.tolist() == [-1, 0]
    assert net.layer("l").weight[0, 0].item() == 0.5 - 0.75
    assert "Gradient clipping: scaling down gradients (L2 norm 5 > 2.5) by scale factor 0.5" in caplog.messages


def test_short_gradients_are_not_clipped():
    np.testing.assert_array_equal(run(network(), clip_gradients=100)[1], run(network())[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "AdaGrad"}, r"momentum is 0\.9.*; expected 0 for AdaGrad"),
        ({"type": "RMSProp"}, "expected 0 for RMSProp"),
        ({"type": "RMSProp", "momentum": 0, "rms_decay": 1}, r"rms_decay is 1; expected at least 0"),
        ({"type": "Adam", "momentum2": 1}, r"momentum2 is 1;"),
        ({"iter_size": 0}, "iter_size is 0; expected 1 or more"),
        ({"regularization_type": "L3"}, "regularization_type is 'L3'; expected 'L1' or 'L2'"),
    ],
)
def test_settings_without_meaning(settings, message):
    with pytest.raises(UsageError, match=message):
        optimizer(network(), **settings)


def test_unknown_solver_type():
    with pytest.raises(UnknownNameError, match="unknown solver type 'Adm'; did you mean 'Adam'"):
        optimizer(network(), type="Adm")
