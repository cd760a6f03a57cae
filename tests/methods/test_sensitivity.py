"""What each layer bears."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import demitasse
from demitasse.errors import MethodError
from demitasse.methods import pow2
from demitasse.methods.sensitivity import LayerSensitivity, Sensitivity
from tests.methods.playground import net, sgd, weights


def energy(model: nn.Module) -> float:
    """What is missing of the squares of all weights: known in advance for every pruning."""
    return -sum(float(parameter.detach().double().square().sum()) for parameter in model.parameters())


def test_metric_of_every_layer_alone_and_the_model_as_before() -> None:
    model = net()
    before = weights(model)
    seen = []

    def evaluate(one: nn.Module) -> float:
        changed = [name for name, tensor in one.state_dict().items() if not torch.equal(tensor, before[name])]
        seen.append(changed)
        return energy(one)

    found = demitasse.sensitivity(model, evaluate, sparsities=(0.5, 0.9), bits=(4,))
    assert seen == [[], *[["conv.weight"]] * 3, *[["fc.weight"]] * 3]
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(model).items())
    fc = found.layers[1]
    squares = model.fc.weight.detach().double().square().flatten().sort().values
    assert fc.by_sparsity[0.5] - found.dense == pytest.approx(float(squares[:720].sum()))
    levels = pow2.project(model.fc.weight.detach(), pow2.grid(float(model.fc.weight.detach().abs().max()), 4))
    assert fc.by_bits[4] - found.dense == pytest.approx(float(squares.sum() - levels.double().square().sum()))


def test_the_model_is_as_before_where_evaluate_raises() -> None:
    model = net()
    before = weights(model)

    def evaluate(one: nn.Module) -> float:
        if not torch.equal(one.get_parameter("fc.weight"), before["fc.weight"]):
            raise ArithmeticError
        return 0.0

    with pytest.raises(ArithmeticError):
        demitasse.sensitivity(model, evaluate)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(model).items())


def test_buffers_and_modes_are_as_before() -> None:
    model = net()
    before = weights(model)

    def evaluate(one: nn.Module) -> float:
        one(torch.randn(8, 1, 8, 8))  # in training mode: moves the statistics of batch norm
        one.eval()
        return 0.0

    demitasse.sensitivity(model, evaluate, sparsities=(0.5,), bits=())
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(model).items())


def test_ties_are_cut_one_by_one() -> None:
    model = nn.Linear(10, 10)
    with torch.no_grad():
        model.weight.fill_(0.5)
    zeros: list[int] = []
    demitasse.sensitivity(
        model,
        lambda one: zeros.append(int((one.weight == 0).sum())) or 0.0,
        sparsities=(0.2, 0.55),
        bits=(),  # type: ignore[func-returns-value, operator, arg-type]
    )
    assert zeros == [0, 20, 55]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_bearable(bad: float) -> None:
    found = Sensitivity(1.0, (LayerSensitivity("a", 100, {0.5: 1.0, 0.8: 1.5, 0.9: bad}, {}),))
    assert found.proposal(tolerance=1.0) == {"a": 0.8}
    assert found.proposal(sparsity=0.6)["a"] == pytest.approx(0.6)
    with pytest.raises(MethodError, match="no bits were measured"):
        found.proposal_bits(0.1)


def test_progress_counts_evaluations() -> None:
    told: list[tuple[int, int]] = []
    demitasse.sensitivity(net(), energy, sparsities=(0.5,), bits=(4, 3), progress=lambda *n: told.append(n))
    assert told == [(number, 7) for number in range(1, 8)]


def made() -> Sensitivity:
    return Sensitivity(
        1.0,
        (
            LayerSensitivity("a", 100, {0.5: 1.0, 0.9: 1.2}, {4: 1.0, 3: 1.05, 2: 2.0}),
            LayerSensitivity("b", 900, {0.5: 1.1, 0.9: 3.0}, {4: 1.4, 3: 1.6, 2: 1.8}),
        ),
    )


def test_proposal_by_tolerance_is_linear_between_what_was_measured() -> None:
    assert made().proposal(tolerance=0.1) == pytest.approx({"a": 0.7, "b": 0.5})
    assert made().proposal(tolerance=0.0) == pytest.approx({"a": 0.5, "b": 0.0})
    assert made().proposal(tolerance=9.0) == pytest.approx({"a": 0.9, "b": 0.9})


@pytest.mark.parametrize("sparsity", [0.2, 0.55, 0.9])
def test_proposal_by_sparsity_meets_it(sparsity: float) -> None:
    targets = made().proposal(sparsity=sparsity)
    assert 0.1 * targets["a"] + 0.9 * targets["b"] == pytest.approx(sparsity, abs=1e-6)


def test_proposal_of_bits() -> None:
    assert made().proposal_bits(0.1) == {"a": 3, "b": 4}


def test_a_proposal_is_a_target_for_surgery() -> None:
    model = net()
    targets = demitasse.sensitivity(model, energy).proposal(sparsity=0.7)
    surgery = demitasse.Surgery(model, sgd(model), sparsity=targets)
    assert surgery.targets == targets


def test_the_table_and_plain_values() -> None:
    text = str(made())
    assert "each layer alone" in text.lower()
    assert "90 %" in text
    assert "3 bits" in text
    assert made().as_plain()["layers"][0]["by_bits"][3] == 1.05


def test_what_cannot_be() -> None:
    with pytest.raises(MethodError, match="expected one of tolerance and sparsity"):
        made().proposal()
    with pytest.raises(MethodError, match=r"sparsity is 0\.95, but the largest measured gives 0\.9"):
        made().proposal(sparsity=0.95)
    for settings, message in (
        ({"sparsities": (1.5,)}, "expected a share from 0 to 1"),
        ({"bits": (1,)}, "1 bits cannot hold a sign"),
        ({"sparsities": (), "bits": ()}, "neither sparsities nor bits"),
        ({"parameters": ["cnov"]}, "matches no parameter"),
    ):
        with pytest.raises(MethodError, match=message):
            demitasse.sensitivity(net(), energy, **settings)  # type: ignore[arg-type]


def test_bits_beyond_the_type_of_a_layer() -> None:
    model = nn.Linear(4, 3).half()
    with pytest.raises(MethodError, match="weight: a grid of 64 powers of two is beyond float16, which has 40"):
        demitasse.sensitivity(model, lambda _: 0.0, bits=(8,))


def test_zero_ends_at_half_of_the_least_power() -> None:
    model = nn.Linear(4, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([1.0, 0.6, 0.3, 0.2]))
    seen: list[list[float]] = []
    demitasse.sensitivity(model, lambda m: float(seen.append(m.weight[0].tolist()) or 0.0), sparsities=(), bits=(3,))
    assert seen[1] == [1.0, 0.5, 0.5, 0.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_at_the_start_is_refused(bad: float) -> None:
    with pytest.raises(MethodError, match=f"evaluate returned {bad} for the unchanged model"):
        demitasse.sensitivity(net(), lambda model: bad)
    model = net()
    with torch.no_grad():
        model.fc.weight[0, 0] = bad
    with pytest.raises(MethodError, match=f"the largest weight of fc.weight is {bad}"):
        demitasse.sensitivity(model, energy)
