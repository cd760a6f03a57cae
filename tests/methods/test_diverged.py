"""Runs that go wrong: weights that are not finite any more, and parameters that got other data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import demitasse
from demitasse.errors import MethodError
from tests.methods.playground import sgd

ATTACH = {
    "surgery": lambda m, o: demitasse.Surgery(m, o, sparsity=0.5, ramp=2),
    "magnitude": lambda m, o: demitasse.MagnitudePruning(m, o, sparsity=0.5, ramp=2),
    "quantization": lambda m, o: demitasse.IncrementalQuantization(m, o, bits=4),
}


@pytest.mark.parametrize("kind", ATTACH)
@pytest.mark.parametrize("rows", [6, 20_000])
def test_data_of_another_shape_is_seen(kind: str, rows: int) -> None:
    """The compiled loops would read and write behind the end of what belongs to the old shape."""
    model = nn.Sequential(nn.Linear(8, 16, bias=False))
    optimizer = sgd(model)
    attached: Any = ATTACH[kind](model, optimizer)
    if kind == "quantization":
        attached.freeze()
    model(torch.randn(2, 8)).sum().backward()
    optimizer.step()
    model[0].weight.data = torch.randn(rows, 8)
    model[0].weight.grad = torch.zeros(rows, 8)
    said = rf"0\.weight has shape \({rows}, 8\); it had \(16, 8\) when"
    with pytest.raises(MethodError, match=said):
        optimizer.step()
    for use in (attached.report, attached.finish, *([attached.freeze] if kind == "quantization" else [])):
        with pytest.raises(MethodError, match=said):
            use()
    with pytest.raises(MethodError, match=said):
        demitasse.save(model, "never.demi")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", ["one", "all"])
@pytest.mark.parametrize(
    "settings",
    [
        {"sparsity": 0.5, "ramp": 1, "gamma": 0},
        {"sparsity": 0.95, "ramp": 1, "scope": "layer", "gamma": 0},
        {"c_rate": 0.5, "gamma": 0},
        {"sparsity": {"0": 0.0, "2": 0.5}, "ramp": 1, "gamma": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_run_that_diverges_ends_at_the_next_decision(
    bad: float, which: str, settings: dict[str, Any], channels_last: bool
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    model.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    demitasse.Surgery(model, optimizer, **settings)

    def step(gradient: float) -> None:
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        gradients = model[2].weight.grad
        if which == "all":
            gradients.fill_(gradient)
        else:
            gradients[0, 0, 0, 0] = gradient
        optimizer.step()

    step(0.01)
    with pytest.raises(MethodError, match=r"weights of 2\.weight are not finite; the run diverged"):
        step(bad)
