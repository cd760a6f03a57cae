"""LARS against its formulas, against recorded Caffe, and under what people combine it with."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import demitasse
from demitasse.errors import MethodError
from demitasse.optim import LARS
from tests.methods.playground import backward, batches, check, net, same, train

SETTINGS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 1e-2},
    {"weight_decay": 1e-2, "nesterov": True},
    {"weight_decay": 1e-2, "caffe": True},
    {"exclude_1d": False, "momentum": 0.0},
    {"maximize": True, "weight_decay": 1e-2},
]
each_setting = pytest.mark.parametrize("settings", SETTINGS, ids=str)


def reference(w: np.ndarray, g: np.ndarray, v: np.ndarray, s: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """One step in float64, as the docstring says."""
    lr, trust, momentum, decay = 0.5, 0.01, s.get("momentum", 0.9), s.get("weight_decay", 0.0)
    g = -g if s.get("maximize") else g
    local = 1.0
    if s.get("caffe") or not s.get("exclude_1d", True) or w.ndim > 1:
        plain, g = g, g + decay * w
        w_norm, g_norm = np.linalg.norm(w), np.linalg.norm(g if s.get("caffe") else plain)
        local = trust * w_norm / (g_norm + decay * w_norm) if w_norm and g_norm else 1.0
    change = lr * local * g
    v = momentum * v + change
    return w - (momentum * v + change if s.get("nesterov") else v), v


@each_setting
@pytest.mark.parametrize("foreach", [False, True])
def test_steps_are_those_of_the_formula(settings: dict[str, Any], foreach: bool) -> None:
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(shape) for shape in ((4, 3), (5,), (2, 2, 3, 3))] + [np.zeros((3, 2))]
    parameters = [nn.Parameter(torch.tensor(value)) for value in values]
    optimizer = LARS(parameters, lr=0.5, trust=0.01, foreach=foreach, **settings)
    velocities = [np.zeros_like(value) for value in values]
    for _ in range(4):
        for index, parameter in enumerate(parameters):
            gradient = rng.standard_normal(values[index].shape)
            parameter.grad = torch.tensor(gradient)
            values[index], velocities[index] = reference(values[index], gradient, velocities[index], settings)
        optimizer.step()
        for parameter, value in zip(parameters, values, strict=True):
            np.testing.assert_allclose(parameter.detach().numpy(), value, rtol=1e-9, atol=1e-12)


@each_setting
def test_foreach_equals_one_by_one(settings: dict[str, Any]) -> None:
    models = []
    for foreach in (False, True):
        model = net()
        train(model, LARS(model.parameters(), lr=0.5, trust=0.01, foreach=foreach, **settings), 10)
        models.append(model.state_dict())
    for name in models[0]:
        torch.testing.assert_close(models[0][name], models[1][name])


@pytest.mark.parametrize("foreach", [False, True])
def test_as_caffe_did_it(shared: Path, monkeypatch: pytest.MonkeyPatch, foreach: bool) -> None:
    """A recorded run of the solver type LarsSGD: rate 0.5, trust 0.02, decay 0.001, from the recorded start."""
    from demitasse.caffe.models.caffemodel import read_model
    from demitasse.caffe.text import prototxt
    from demitasse.caffe.training.scoring import next_batch
    from demitasse.caffe.training.solver import Solver
    from demitasse.caffe.weights import load_weights

    monkeypatch.chdir(shared / "golden/solvers/lars_ratio")
    net = Solver(prototxt.read_solver("solver.prototxt"), "solver.prototxt").net
    load_weights(net, "../common/init.caffemodel")
    settings: dict[str, Any] = {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.001, "trust": 0.02, "caffe": True}
    optimizer = LARS([blob.tensor for blob in net.learnable], foreach=foreach, **settings)
    for iteration in range(1, 11):
        optimizer.zero_grad()
        net.loss(net(next_batch(net, torch.device("cpu")))).backward()
        optimizer.step()
        if iteration in (1, 10):
            recorded = {layer.name: layer for layer in read_model(f"snap_iter_{iteration}.caffemodel")}
            for name, layer in net.named_layers().items():
                for ours, theirs in zip(layer.blobs(), recorded[name].blobs, strict=True):
                    np.testing.assert_allclose(ours.detach().numpy(), theirs, atol=1e-6 if iteration == 1 else 1e-5)


def test_groups_and_their_settings() -> None:
    model = net()
    optimizer = LARS([{"params": model.conv.parameters(), "lr": 0.0}], lr=0.5)
    optimizer.add_param_group({"params": model.fc.parameters(), "trust": 0.1})
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    train(model, optimizer, 3)
    assert torch.equal(before["conv.weight"], model.conv.weight)
    assert not torch.equal(before["fc.weight"], model.fc.weight)


@pytest.mark.parametrize("way", ["state_dict", "pickle", "deepcopy"])
def test_resume_is_exact(way: str) -> None:
    model = net()
    optimizer = LARS(model.parameters(), lr=0.5, weight_decay=1e-2)
    data = list(batches(10))
    for batch in data[:5]:
        backward(model, batch)
        optimizer.step()
    if way == "state_dict":
        twin = copy.deepcopy(model)
        other = LARS(twin.parameters(), lr=9.0)
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    elif way == "pickle":
        twin, other = pickle.loads(pickle.dumps((model, optimizer)))
    else:
        twin, other = copy.deepcopy((model, optimizer))
    for one, its in ((model, optimizer), (twin, other)):
        for batch in data[5:]:
            backward(one, batch)
            its.step()
    assert same(model, twin)


def test_closure() -> None:
    model = net()
    optimizer = LARS(model.parameters(), lr=0.5)
    (batch,) = batches(1)
    loss = optimizer.step(lambda: backward(model, batch))
    assert isinstance(loss, Tensor)
    assert optimizer.step(lambda: backward(model, batch)) < loss


def test_gradscaler_skips_a_step() -> None:
    model = net()
    optimizer = LARS(model.parameters(), lr=0.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for factor in (1.0, torch.inf):
        before = {name: tensor.clone() for name, tensor in model.named_parameters()}
        images, labels = next(batches(1))
        optimizer.zero_grad()
        scaler.scale(nn.functional.cross_entropy(model(images), labels)).backward()
        model.fc.weight.grad.mul_(factor)  # type: ignore[union-attr]
        scaler.step(optimizer)
        scaler.update()
        changed = any(not torch.equal(before[name], tensor) for name, tensor in model.named_parameters())
        assert changed == (factor == 1.0)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_compiled_step_equals_the_plain_one() -> None:
    results = []
    for compiled in (False, True):
        model = net()
        optimizer = LARS(model.parameters(), lr=torch.tensor(0.5), weight_decay=1e-2, foreach=True)
        step = torch.compile(optimizer.step, backend="aot_eager") if compiled else optimizer.step
        for batch in batches(4):
            backward(model, batch)
            step()
        results.append(model.state_dict())
    for name in results[0]:
        torch.testing.assert_close(results[0][name], results[1][name])


def test_under_surgery_and_quantization() -> None:
    model = net()
    optimizer = LARS(model.parameters(), lr=0.5, weight_decay=1e-2)
    surgery = demitasse.Surgery(model, optimizer, sparsity=0.8, ramp=20)
    train(model, optimizer, 30, after=lambda: check(model, surgery))
    quantize = demitasse.IncrementalQuantization(model, optimizer, bits=4)
    for _ in quantize:
        train(model, optimizer, 5, after=lambda: check(model, surgery, quantize))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "lr is -1; expected 0 or more"),
        ({"momentum": float("nan")}, "momentum is nan; expected 0 or more, below 1"),
        ({"momentum": 1.5}, r"momentum is 1\.5"),
        ({"lr": float("inf")}, "lr is inf"),
        ({"lr": torch.tensor([0.1, 0.2])}, "lr is a tensor of 2 numbers; expected one"),
        ({"weight_decay": -0.1}, r"weight_decay is -0\.1"),
        ({"trust": -0.1}, r"trust is -0\.1"),
        ({"momentum": 0.0, "nesterov": True}, "nesterov is True and momentum is 0"),
    ],
)
def test_settings_without_meaning(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        LARS(net().parameters(), **settings)


@pytest.mark.parametrize("foreach", [False, True])
def test_norms_of_half_precision_do_not_overflow(foreach: bool) -> None:
    parameter = nn.Parameter(torch.full((10, 1000), 1.0, dtype=torch.float16))
    parameter.grad = torch.full_like(parameter, 1000.0)
    LARS([parameter], lr=1.0, trust=0.01, foreach=foreach).step()
    assert parameter[0, 0].item() == pytest.approx(0.99, abs=1e-3)


def test_the_state_of_another_optimizer() -> None:
    model = net()
    other = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train(model, other, 2)
    optimizer = LARS(model.parameters(), lr=0.5)
    optimizer.load_state_dict(other.state_dict())
    train(model, optimizer, 2)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_a_refused_gradient_leaves_everything_as_it_was() -> None:
    first, second = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(3, 2))
    first.grad, second.grad = torch.ones(3, 2), torch.ones(3, 2).to_sparse()
    with pytest.raises(MethodError, match="is sparse"):
        LARS([{"params": [first]}, {"params": [second]}]).step()
    assert torch.equal(first, torch.ones(3, 2))


@pytest.mark.parametrize("kind", ["sparse", "complex"])
def test_gradients_of_other_kinds(kind: str) -> None:
    parameter = nn.Parameter(torch.ones(3, 2, dtype=torch.complex64 if kind == "complex" else torch.float32))
    parameter.grad = torch.ones_like(parameter) if kind == "complex" else torch.ones(3, 2).to_sparse()
    with pytest.raises(MethodError, match=rf"a gradient of shape \(3, 2\) is {kind}; expected dense, real gradients"):
        LARS([parameter]).step()
