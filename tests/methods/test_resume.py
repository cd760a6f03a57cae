"""A run that goes on from a saved state gives bit for bit what an unbroken run gives."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

import demitasse
from demitasse.errors import WeightsError
from demitasse.methods.method import Method
from demitasse.methods.records import FROZEN
from tests.methods.playground import backward, batches, check, net, same, sgd, train, weights

STEPS = 30

Attach = Callable[[nn.Module, torch.optim.Optimizer], Method]
METHODS: dict[str, Attach] = {
    "sparsity": lambda m, o: demitasse.Surgery(m, o, sparsity=0.8, ramp=20, gamma=0.05, seed=7),
    "layers": lambda m, o: demitasse.Surgery(m, o, sparsity={"conv": 0.5, "fc": 0.9}, ramp=20, gamma=0.05),
    "c_rate": lambda m, o: demitasse.Surgery(m, o, c_rate=0.5, gamma=0.05, begin=3),
    "magnitude": lambda m, o: demitasse.MagnitudePruning(m, o, sparsity=0.8, ramp=20, every=3),
}


def saved(model: nn.Module, optimizer: torch.optim.Optimizer, *methods: Method) -> dict[str, Any]:
    """What a checkpoint holds, through a file that can hold tensors alone."""
    file = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict(), *(method.state_dict() for method in methods)], file)
    file.seek(0)
    model_state, optimizer_state, *states = torch.load(file, weights_only=True)
    # the same through safetensors
    return {"model": model_state, "optimizer": optimizer_state, "methods": [load(save(state)) for state in states]}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("order", ["method last", "method first"])
def test_resume_at_any_step(name: str, order: str) -> None:
    model = net()
    optimizer = sgd(model)
    method = METHODS[name](model, optimizer)
    states = []
    data = list(batches(STEPS))
    for batch in data:
        states.append(saved(model, optimizer, method))
        backward(model, batch)
        optimizer.step()
    for start in range(0, STEPS, 4):
        twin = net(seed=5)
        other = sgd(twin)
        resumed = METHODS[name](twin, other)
        state = states[start]
        if order == "method first":
            resumed.load_state_dict(state["methods"][0])
        twin.load_state_dict(state["model"])
        other.load_state_dict(state["optimizer"])
        if order == "method last":
            resumed.load_state_dict(state["methods"][0])
        for batch in data[start:]:
            backward(twin, batch)
            other.step()
        assert same(model, twin), f"resumed at {start}"
        assert all(torch.equal(mask, resumed.masks()[key]) for key, mask in method.masks().items())


def quantized(model: nn.Module, optimizer: torch.optim.Optimizer, **settings: Any) -> demitasse.IncrementalQuantization:
    return demitasse.IncrementalQuantization(
        model, optimizer, **{"bits": 4, "portions": (0.4, 0.8, 1.0), "seed": 3, **settings}
    )


@pytest.mark.parametrize("settings", [{}, {"partition": "random"}, {"per": "channel"}], ids=str)
@pytest.mark.parametrize("surgery", [False, True])
def test_resume_within_a_portion_freezes_nothing_twice(settings: dict[str, Any], surgery: bool) -> None:
    """Every portion is trained for four steps; the run is broken off after each of the twelve."""

    def methods(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Method]:
        found: list[Method] = [METHODS["sparsity"](model, optimizer)] if surgery else []
        return [*found, quantized(model, optimizer, **settings)]

    def start() -> tuple[nn.Module, torch.optim.Optimizer, list[Method]]:
        model = net()
        optimizer = sgd(model)
        attached = methods(model, optimizer)
        train(model, optimizer, 25)
        return model, optimizer, attached

    data = list(batches(12, seed=9))

    def run(
        model: nn.Module, optimizer: torch.optim.Optimizer, attached: list[Method], states: list[Any]
    ) -> list[float]:
        portions = []
        quantize = attached[-1]
        assert isinstance(quantize, demitasse.IncrementalQuantization)
        for portion in quantize:
            portions.append(portion)
            frozen = {name: record.status == FROZEN for name, record in quantize.records.items()}
            while quantize.step < 4:
                states.append(saved(model, optimizer, *attached))
                backward(model, data[4 * (quantize.stage - 1) + quantize.step])
                optimizer.step()
                check(model, *attached)
            assert all(torch.equal(frozen[name], record.status == FROZEN) for name, record in quantize.records.items())
        return portions

    model, optimizer, attached = start()
    states: list[Any] = []
    assert run(model, optimizer, attached, states) == [0.4, 0.8, 1.0]
    for index, state in enumerate(states):
        twin = net(seed=5)
        other = sgd(twin)
        resumed = methods(twin, other)
        twin.load_state_dict(state["model"])
        other.load_state_dict(state["optimizer"])
        for method, part in zip(resumed, state["methods"], strict=True):
            method.load_state_dict(part)
        assert run(twin, other, resumed, []) == [0.4, 0.8, 1.0][index // 4 :]
        assert same(model, twin), f"resumed at {index}"


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 2, 1], [1, 2, 0], [2, 1, 0], [2, 0, 1]], ids=str)
@pytest.mark.parametrize("moment", [10, 22, 26], ids=["on the ramp", "in the first portion", "in the second"])
@pytest.mark.parametrize("rolled_back", [False, True])
@pytest.mark.parametrize("name", ["sparsity", "c_rate", "magnitude"])
def test_pruning_and_quantization_go_on_from_any_moment(
    name: str, rolled_back: bool, moment: int, order: list[int]
) -> None:
    """In a new run, or in the one that has gone on since (a roll-back); model and methods loaded in any order."""
    data = list(batches(STEPS))

    def run(model: nn.Module, optimizer: torch.optim.Optimizer, methods: list[Method], first: int, last: int) -> None:
        quantize = methods[1]
        assert isinstance(quantize, demitasse.IncrementalQuantization)
        for step in range(first, last):
            while quantize.stage < sum(begin <= step for begin in (20, 24, 28)):
                quantize.freeze()
            backward(model, data[step])
            optimizer.step()
            check(model, *methods)

    def start(seed: int) -> tuple[nn.Module, torch.optim.Optimizer, list[Method]]:
        model = net(seed)
        optimizer = sgd(model)
        return model, optimizer, [METHODS[name](model, optimizer), quantized(model, optimizer)]

    model, optimizer, methods = start(0)
    run(model, optimizer, methods, 0, moment)
    state = saved(model, optimizer, *methods)
    run(model, optimizer, methods, moment, STEPS)
    expected, masks = weights(model), [method.masks() for method in methods]
    if not rolled_back:
        model, optimizer, methods = start(5)
    optimizer.load_state_dict(state["optimizer"])
    parts = list(zip([model, *methods], [state["model"], *state["methods"]], strict=True))
    for number in order:
        parts[number][0].load_state_dict(parts[number][1])
    assert all(torch.equal(state["model"][key], tensor) for key, tensor in model.state_dict().items())
    run(model, optimizer, methods, moment, STEPS)
    assert all(torch.equal(expected[key], tensor) for key, tensor in model.state_dict().items())
    for mine, its in zip([method.masks() for method in methods], masks, strict=True):
        assert all(torch.equal(mask, mine[key]) for key, mask in its.items())


def test_a_finished_quantization_has_nothing_left_to_iterate() -> None:
    model = net()
    optimizer = sgd(model)
    quantize = quantized(model, optimizer)
    assert len(list(quantize)) == 3
    assert list(quantize) == []
    twin = net(seed=5)
    resumed = quantized(twin, sgd(twin))
    resumed.load_state_dict(quantize.state_dict())
    assert list(resumed) == []


def test_old_masks_load_into_a_new_run() -> None:
    model = net()
    optimizer = sgd(model)
    old = METHODS["sparsity"](model, optimizer)
    train(model, optimizer, STEPS)
    twin = net()
    other = torch.optim.Adam(twin.parameters(), lr=1e-3)
    new = demitasse.Surgery(twin, other, sparsity=0.9, begin=10, ramp=10)
    new.load_masks(old.masks())
    for name, mask in old.masks().items():
        assert torch.equal(twin.get_parameter(name) != 0, mask)
    train(twin, other, 5)
    assert all(torch.equal(mask, new.masks()[name]) for name, mask in old.masks().items())
    train(twin, other, 30, after=lambda: check(twin, new))
    assert new.report().sparsity == pytest.approx(0.9, abs=1e-3)


def test_state_that_does_not_fit_is_refused() -> None:
    model = net()
    surgery = METHODS["sparsity"](model, sgd(model))
    state = surgery.state_dict()
    with pytest.raises(WeightsError, match=r"Surgery: the state has no 'mask\.conv\.weight' \(1 missing\)"):
        surgery.load_state_dict({name: value for name, value in state.items() if name != "mask.conv.weight"})
    with pytest.raises(WeightsError, match=r"Surgery: the state has 'mask\.conf', which is not compressed here"):
        surgery.load_state_dict({**state, "mask.conf": torch.ones(1)})
    with pytest.raises(WeightsError, match=r"mask\.conv\.weight has shape \(3,\); expected \(4, 1, 3, 3\)"):
        surgery.load_state_dict({**state, "mask.conv.weight": torch.ones(3)})
    with pytest.raises(WeightsError, match=r"'fc\.weihgt' is not a compressed parameter; did you mean 'fc\.weight'"):
        surgery.load_masks({"fc.weihgt": torch.ones(10, 144)})


def test_a_refused_state_changes_nothing() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = METHODS["sparsity"](model, optimizer)
    train(model, optimizer, STEPS)
    before, masks = {name: tensor.clone() for name, tensor in model.state_dict().items()}, surgery.masks()
    state = surgery.state_dict()
    ones: dict[str, Tensor] = {name: torch.ones_like(value) for name, value in state.items()}
    with pytest.raises(WeightsError):
        surgery.load_state_dict({**ones, "reserve.fc.weight": torch.ones(3)})
    assert surgery.iteration == STEPS
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(torch.equal(masks[name], mask) for name, mask in surgery.masks().items())


def test_the_state_does_not_change_with_the_run() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = METHODS["sparsity"](model, optimizer)
    train(model, optimizer, 10)
    state = surgery.state_dict()
    copies = {name: value.clone() for name, value in state.items()}
    train(model, optimizer, 10)
    assert all(torch.equal(copies[name], value) for name, value in state.items())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_step_that_only_prepares_an_optimizer_is_not_counted(momentum: float) -> None:
    """get_state_dict and set_state_dict step an optimizer that has no state yet."""
    model = net()
    optimizer = sgd(model, momentum=momentum)
    surgery = METHODS["sparsity"](model, optimizer)
    before = weights(model)
    for _ in range(2):
        state, momenta = get_state_dict(model, optimizer)
        set_state_dict(model, optimizer, model_state_dict=state, optim_state_dict=momenta)
    assert surgery.iteration == 0
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    train(model, optimizer, 3)
    model.zero_grad()
    before = weights(model)
    get_state_dict(model, optimizer)
    assert surgery.iteration == 3
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_run(name: str) -> None:
    results = []
    for _ in range(2):
        model = net()
        optimizer = sgd(model)
        METHODS[name](model, optimizer)
        train(model, optimizer, STEPS)
        results.append(model)
    assert same(*results)
