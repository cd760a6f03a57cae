"""Layers of which pruning leaves hardly anything, and the least that it leaves in any layer."""

from __future__ import annotations

import copy
import math
import warnings

import pytest
import torch
from torch import nn

import demitasse
from demitasse.errors import MethodError
from demitasse.methods import floors
from demitasse.methods.method import Method

KINDS = ("Surgery", "MagnitudePruning")


def uneven() -> nn.Sequential:
    """A net whose second layer has far smaller weights than the first: 10,000 each."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(100, 100, bias=False), nn.Linear(100, 100, bias=False))
    with torch.no_grad():
        model[1].weight.mul_(1e-3)
    return model


def pruned(kind: str, model: nn.Module, **settings: object) -> tuple[Method, torch.optim.Optimizer]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    return getattr(demitasse, kind)(model, optimizer, **{"sparsity": 0.6, "ramp": 0, **settings}), optimizer


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    sum(parameter.sum() for parameter in model.parameters() if parameter.requires_grad).backward()  # type: ignore[union-attr]
    optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("settings", "least"), [({}, 10), ({"floor": 0.05}, 500), ({"floor": 0.4}, 4000)])
def test_every_layer_keeps_its_floor_and_the_share_stays_exact(
    kind: str, settings: dict[str, float], least: int
) -> None:
    model = uneven()
    method, optimizer = pruned(kind, model, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        step(model, optimizer)
    kept = [row.kept for row in method.report().rows]
    assert kept == [8000 - least, least]


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_floor_a_layer_may_lose_all(kind: str) -> None:
    model = uneven()
    method, optimizer = pruned(kind, model, floor=0.0)
    with pytest.warns(UserWarning, match=rf"{kind} leaves 0 of 10,000 weights of 1\.weight; .* set floor"):
        step(model, optimizer)
    assert "hardly any weights are left: 0 of 10,000 weights of 1.weight" in str(method.report())


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_that_dies_is_named_once_at_the_first_decision(kind: str) -> None:
    model = uneven()
    method, optimizer = pruned(kind, model)
    with pytest.warns(UserWarning, match=r"leaves 10 of 10,000 weights of 1\.weight; exclude such a layer") as seen:
        step(model, optimizer)
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(model, optimizer)
    assert any("10 of 10,000 weights of 1.weight" in note for note in method.report().notes)


def test_a_layer_that_is_left_what_was_asked_for_is_not_named() -> None:
    model = uneven()
    method, optimizer = pruned("Surgery", model, sparsity=0.995, scope="layer")
    step(model, optimizer)
    report = method.report()
    assert [row.kept for row in report.rows] == [50, 50]
    assert not report.notes


def test_a_threshold_leaves_the_floor_and_says_so() -> None:
    model = uneven()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    surgery = demitasse.Surgery(model, optimizer, c_rate={"0": 0.0, "1": 50.0}, gamma=0, floor=0.005)
    with pytest.warns(UserWarning, match=r"leaves 50 of 10,000 weights of 1\.weight"):
        step(model, optimizer)
    rows = surgery.report().rows
    assert rows[1].kept == 50
    assert rows[0].kept > 3000
    largest = model[1].weight.detach().abs().flatten().topk(50).values
    assert int((largest > 0).sum()) == 50


def test_the_floor_gives_way_to_the_sparsity_of_all() -> None:
    assert floors.most([1000, 1000], 1600, 0.1) == [900, 900]
    assert floors.most([1000, 1000], 1900, 0.1) == [950, 950]
    assert floors.most([1000, 10], 1010, 0.1) == [1000, 10]
    assert floors.most([3, 7], 0, 1.0) == [0, 0]
    for target in range(0, 1011, 101):
        assert sum(floors.most([1000, 10], target, 0.3)) >= target


@pytest.mark.parametrize(
    ("floor", "message"),
    [
        (0.5, r"floor is 0\.5; expected at most 0\.4, the share that sparsity 0\.6 keeps"),
        (-0.1, r"floor is -0\.1; expected a share from 0 to 1"),
        (math.nan, "floor is nan; expected a share"),
        ("all", "floor is 'all'; expected a share"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_floors_without_meaning(kind: str, floor: object, message: str) -> None:
    with pytest.raises(MethodError, match=message):
        pruned(kind, uneven(), floor=floor)


class Adapted(nn.Module):
    """A frozen linear layer with a pair of small ones beside it, the second nothing but zeros, as LoRA begins."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.base = nn.Linear(64, 64, bias=False).requires_grad_(False)
        self.lora_A = nn.Linear(64, 8, bias=False)
        self.lora_B = nn.Linear(8, 64, bias=False)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.base(inputs) + self.lora_B(self.lora_A(inputs))


def tuned(model: Adapted, optimizer: torch.optim.Optimizer, steps: int, first: int = 0) -> None:
    for number in range(first, first + steps):
        inputs = torch.randn(16, 64, generator=torch.Generator().manual_seed(number))
        optimizer.zero_grad()
        (model(inputs) - inputs.roll(1, 1)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_of_zeros_gets_the_sparsity_for_itself(kind: str) -> None:
    model = Adapted()
    optimizer = torch.optim.Adam([model.lora_A.weight, model.lora_B.weight], lr=1e-4)
    method = getattr(demitasse, kind)(model, optimizer, sparsity=0.5, ramp=10)
    tuned(model, optimizer, 15)
    assert method.report().kept == 512
    assert {row.name: row.kept for row in method.report().rows} == {"lora_A.weight": 256, "lora_B.weight": 256}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loaded_first", [False, True])
def test_a_resume_knows_what_was_nothing_but_zeros(kind: str, loaded_first: bool) -> None:
    def start() -> tuple[Adapted, torch.optim.Optimizer]:
        model = Adapted()
        return model, torch.optim.Adam([model.lora_A.weight, model.lora_B.weight], lr=1e-4)

    model, optimizer = start()
    method = getattr(demitasse, kind)(model, optimizer, sparsity=0.5, ramp=20, floor=0.0)
    tuned(model, optimizer, 6)
    states = copy.deepcopy([one.state_dict() for one in (model, optimizer, method)])
    twin, other = start()
    if loaded_first:
        twin.load_state_dict(states[0])
    resumed = getattr(demitasse, kind)(twin, other, sparsity=0.5, ramp=20, floor=0.0)
    for one, state in zip((twin, other, resumed), states, strict=True):
        one.load_state_dict(state)
    tuned(model, optimizer, 20, 6)
    tuned(twin, other, 20, 6)
    assert all(torch.equal(tensor, twin.state_dict()[name]) for name, tensor in model.state_dict().items())
