"""One suite over every built-in model, optimizer and learning rate schedule of recipes."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import demitasse
from demitasse.errors import UnknownNameError
from demitasse.zoo.models import MODELS
from demitasse.zoo.optimizers import OPTIMIZERS, make_optimizer
from demitasse.zoo.schedules import SCHEDULES, factor, scheduler

# a batch that a model takes: shape, and the number of symbols where it takes whole numbers
PHOTOS, SMALL, DIGITS, TEXT = ((2, 3, 224, 224), 0), ((2, 3, 32, 32), 0), ((2, 1, 28, 28), 0), ((2, 9), 65)
BATCHES = {
    **dict.fromkeys(("alexnet", "resnet18", "resnet50", "squeezenet", "squeezenet1_0", "squeezenet1_1"), PHOTOS),
    **dict.fromkeys(("resnet20", "resnet32", "resnet56"), SMALL),
    **dict.fromkeys(("lenet5", "lenet300"), DIGITS),
    "gpt": TEXT,
}
SETTINGS = {"gpt": {"vocabulary": 65}}
# models that are quick to train a few steps
QUICK = [name for name in MODELS if BATCHES.get(name) is not PHOTOS]

each_model = pytest.mark.parametrize("name", list(MODELS))
each_optimizer = pytest.mark.parametrize("name", list(OPTIMIZERS))
each_schedule = pytest.mark.parametrize("name", list(SCHEDULES))


def batch(name: str, device: str = "cpu") -> Tensor:
    shape, symbols = BATCHES[name]
    if symbols:
        return torch.randint(symbols, shape, device=device)
    return torch.randn(shape, device=device)


def model(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return MODELS[name](**SETTINGS.get(name, {}))


def test_every_model_is_here() -> None:
    assert set(BATCHES) == set(MODELS), "give the new model a line in BATCHES"


@each_model
def test_a_model_is_built_on_the_meta_device_and_compressible(name: str) -> None:
    with torch.device("meta"):
        built = model(name)
        top = built(batch(name, "meta"))
    assert top.shape[0] == 2
    weights = [value for value in built.parameters() if value.ndim > 1]
    assert sum(value.numel() for value in weights) > 0.9 * sum(value.numel() for value in built.parameters())


@pytest.mark.parametrize("name", QUICK)
def test_first_weights_come_from_the_generator_alone(name: str) -> None:
    first, again, other = model(name), model(name), model(name, seed=1)
    assert all(torch.equal(one, two) for one, two in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(one, two) for one, two in zip(first.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", QUICK)
def test_a_model_trains_prunes_and_is_saved(name: str, tmp_path) -> None:
    built = model(name)
    optimizer = make_optimizer("sgd", built, lr=0.01)
    pruning = demitasse.MagnitudePruning(built, optimizer, sparsity=0.5, ramp=1)
    for _ in range(2):
        optimizer.zero_grad()
        built(batch(name)).square().mean().backward()
        optimizer.step()
    assert all(value.grad is not None for value in built.parameters())
    assert pruning.finish().sparsity == pytest.approx(0.5, abs=0.01)
    demitasse.save(built, tmp_path / "model.demi")
    again = demitasse.load(tmp_path / "model.demi", into=model(name, seed=1))
    inputs = batch(name)
    with torch.no_grad():
        assert torch.equal(built.eval()(inputs), again.eval()(inputs))


def trained(name: str, steps: int, state: dict | None = None, weights: dict | None = None):
    """Trains a small net; returns the net, its optimizer and the losses."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 2))
    inputs, wanted = torch.randn(16, 8), torch.randn(16, 2)
    if weights:
        net.load_state_dict(weights)
    optimizer = make_optimizer(name, net, lr=0.01, weight_decay=0.01)
    if state:
        optimizer.load_state_dict(state)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (net(inputs) - wanted).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return net, optimizer, losses


@each_optimizer
def test_an_optimizer_lowers_the_loss_and_goes_on_from_its_state(name: str) -> None:
    net, _, losses = trained(name, 8)
    assert losses[-1] < losses[0]
    half, optimizer, _ = trained(name, 4)
    again, _, _ = trained(name, 4, copy.deepcopy(optimizer.state_dict()), copy.deepcopy(half.state_dict()))
    assert all(torch.equal(one, two) for one, two in zip(net.parameters(), again.parameters(), strict=True))


@each_optimizer
def test_biases_and_normalization_do_not_decay(name: str) -> None:
    _, optimizer, _ = trained(name, 0)
    for group in optimizer.param_groups:
        assert {value.ndim > 1 for value in group["params"]} == {group["weight_decay"] > 0}


@each_schedule
def test_a_schedule_goes_from_the_peak_down_and_stays_in_range(name: str) -> None:
    factors = [SCHEDULES[name](step / 100) for step in range(101)]
    assert factors[0] == 1
    assert all(0 <= later <= sooner for sooner, later in pairwise(factors))


@each_schedule
def test_a_schedule_warms_up_and_starts_again(name: str) -> None:
    factors = [factor(name, 20, 0.25, step) for step in range(40)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[5] == 1
    assert factors[20:] == factors[:20]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = scheduler(optimizer, name, 20, 0.25)
    for expected in factors[:10]:
        assert optimizer.param_groups[0]["lr"] == pytest.approx(2 * expected)
        optimizer.step()
        schedule.step()


def test_unknown_names_are_told() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(UnknownNameError, match="unknown learning rate schedule 'cosin'; did you mean 'cosine'"):
        scheduler(optimizer, "cosin", 10)
    with pytest.raises(UnknownNameError, match="unknown optimizer 'sgdd'; did you mean 'sgd'"):
        make_optimizer("sgdd", nn.Linear(1, 1), lr=1.0)
