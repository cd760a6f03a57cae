"""What each layer bears."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import demitasse
from demitasse.errors import MethodError
from demitasse.methods import pow2
from demitasse.methods.proposing import Only
from demitasse.methods.sensitivity import LayerSensitivity, Sensitivity
from demitasse.methods.trial import Trial
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
    layer = LayerSensitivity("a", 100, {0.5: 1.0, 0.8: 1.5, 0.9: bad}, {4: 1.5, 3: bad})
    assert layer.bearable_sparsity(1.0, 1.0) == 0.8
    assert layer.bearable_bits(1.0, 1.0) == [4]


def test_progress_counts_evaluations() -> None:
    told: list[tuple[int, int]] = []
    demitasse.sensitivity(net(), energy, sparsities=(0.5,), bits=(4, 3), progress=lambda *n: told.append(n))
    assert told == [(number, 7) for number in range(1, 8)]


class Summed(Trial):
    """Stands for a model whose layers raise the metric independently: the joint rise is ``factor`` times the sum."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor, self.seen = factor, []

    def metric(self, sparsity=None, bits=None) -> float:
        self.seen.append((sparsity, bits))
        rises = [share * (1 if name == "a" else 4) for name, share in (sparsity or {}).items()]
        return 1.0 + self.factor * (sum(rises) + sum(2.0**-width for width in (bits or {}).values()))

    def check_unchanged(self) -> None:
        """It never changes."""


def made(trial: Trial | None = None, **changed: dict) -> Sensitivity:
    """Returns what was measured of two layers, of 100 and 900 entries."""
    layers = (
        LayerSensitivity("a", 100, {0.5: 1.5, 0.9: 1.9}, {4: 1.0625, 3: 1.125, 2: 1.25}),
        LayerSensitivity("b", 900, {0.5: 3.0, 0.9: 4.6}, {4: 1.0625, 3: 1.125, 2: 1.25}),
    )
    return Sensitivity(1.0, tuple(replace(layer, **changed) for layer in layers), trial or Summed())


def test_what_a_layer_bears_is_linear_between_what_was_measured() -> None:
    layer = LayerSensitivity("a", 100, {0.5: 1.0, 0.9: 1.2}, {4: 1.0, 3: 1.05, 2: 2.0})
    for tolerance, expected in ((0.1, 0.7), (0.0, 0.5), (9.0, 0.9)):
        assert layer.bearable_sparsity(1.0, tolerance) == pytest.approx(expected)
    assert layer.bearable_bits(1.0, 0.05 + 1e-9) == [3, 4]
    assert layer.bearable_bits(1.0, -1.0) == []
    by_chance = replace(layer, by_bits={2: 1.0, 3: 1.2, 4: 1.0, 5: 1.0})
    assert by_chance.bearable_bits(1.0, 0.1) == [4, 5]


@pytest.mark.parametrize("factor", [0.1, 0.5, 1.0, 7.0])
@pytest.mark.parametrize("only", [None, "sparsity", "bits"])
@pytest.mark.parametrize("tolerance", [0.0, 0.02, 0.3, 2.0, 50.0])
def test_a_proposal_meets_its_tolerance(tolerance: float, only: Only, factor: float) -> None:
    trial = Summed(factor)
    found = made(trial).proposal(tolerance, only=only)
    assert found.metric - found.dense <= tolerance
    assert found.metric == trial.metric(found.sparsity, found.bits)
    assert len(trial.seen) <= 13


def test_a_proposal_uses_its_tolerance() -> None:
    found = made().proposal(0.4, only="sparsity")
    assert found.metric - 1.0 == pytest.approx(0.4, rel=0.01)
    assert found.layer_tolerance == pytest.approx(0.2, rel=0.01)
    assert found.sparsity == pytest.approx({"a": 0.2, "b": 0.05}, rel=0.01)
    assert found.bits == {}
    assert found.unquantized == ()


def test_a_shared_tolerance_may_be_above_the_tolerance() -> None:
    found = made(Summed(0.1)).proposal(0.1, only="sparsity")
    assert found.metric - 1.0 == pytest.approx(0.1, rel=0.02)
    assert found.layer_tolerance == pytest.approx(0.5, rel=0.02)


def test_bits_are_those_that_all_layers_bear_together() -> None:
    """One layer alone bears 2 bits, but both together only 3."""
    found = made().proposal(0.26, only="bits")
    assert found.bits == {"a": 3, "b": 3}
    assert found.metric == 1.25


def test_a_layer_that_bears_no_measured_width_stays_unquantized() -> None:
    layers = list(made().layers)
    layers[1] = replace(layers[1], by_bits={4: 1.4, 3: 1.6, 2: 1.8})
    found = Sensitivity(1.0, tuple(layers), Summed()).proposal(0.13, only="bits")
    assert found.bits == {"a": 3}
    assert found.unquantized == ("b",)
    assert "│ b         │     900 │ none │" in str(found)
    assert "no measured width is within the solved tolerance: b" in str(found)


def test_layers_that_lose_nothing_alone_may_lose_together() -> None:
    """Where all rises are 0, no shared tolerance tells the layers what to give up."""
    flat = made(by_sparsity={0.5: 1.0, 0.9: 1.0}, by_bits={4: 1.0, 3: 1.0})
    found = flat.proposal(0.5)
    assert 0 < found.eased < 1
    assert found.layer_tolerance == 0
    assert 0.4 < found.metric - 1.0 <= 0.5
    assert "eased by" in str(found)
    nothing = flat.proposal(0.0)
    assert nothing.eased == 1
    assert (nothing.metric, set(nothing.sparsity.values()), nothing.bits) == (1.0, {0.0}, {})
    assert "No layer can be compressed within the tolerance" in str(nothing)


@pytest.mark.parametrize("sparsity", [0.2, 0.55, 0.9])
def test_proposal_by_sparsity_meets_it(sparsity: float) -> None:
    trial = Summed()
    found = made(trial).proposal(sparsity=sparsity)
    assert found.total_sparsity == pytest.approx(sparsity, abs=1e-6)
    assert 0.1 * found.sparsity["a"] + 0.9 * found.sparsity["b"] == pytest.approx(sparsity, abs=1e-6)
    assert found.tolerance is None
    assert trial.seen == [(found.sparsity, found.bits)]
    assert found.metric == trial.metric(found.sparsity, found.bits)


def test_a_real_model_bears_its_proposal_and_is_as_before() -> None:
    model = net()
    before = weights(model)
    found = demitasse.sensitivity(model, energy)
    proposal = found.proposal(tolerance=1.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(model).items())
    surgery = demitasse.Surgery(model, sgd(model), sparsity=proposal.sparsity)
    assert surgery.targets == proposal.sparsity
    surgery.finish()
    for name, parameter in model.named_parameters():
        if name in proposal.sparsity:
            values = parameter.detach().flatten()
            values[values.abs().argsort()[: round(proposal.sparsity[name] * len(values))]] = 0
    for _ in demitasse.IncrementalQuantization(model, sgd(model), bits=proposal.bits, portions=(1.0,)):
        pass
    assert energy(model) == pytest.approx(proposal.metric, rel=1e-6)
    assert energy(model) - found.dense <= 1.0


def test_a_model_that_was_changed_is_measured_anew() -> None:
    model = net()
    found = demitasse.sensitivity(model, energy, sparsities=(0.5,), bits=())
    found.proposal(tolerance=1.0)
    with torch.no_grad():
        model.fc.weight.mul_(2)
    with pytest.raises(MethodError, match=r"fc\.weight was changed after it was measured; call sensitivity again"):
        found.proposal(tolerance=1.0)


def test_progress_of_a_proposal() -> None:
    told: list[tuple[int, int]] = []
    made().proposal(0.1, progress=lambda *n: told.append(n))
    assert told == [(number, told[-1][1]) for number in range(1, len(told) + 1)]


def test_the_table_and_plain_values() -> None:
    text = str(made())
    assert "each layer alone" in text.lower()
    assert "90 %" in text
    assert "3 bits" in text
    assert made().as_plain()["layers"][0]["by_bits"][3] == 1.125
    shown = str(made().proposal(0.4))
    for part in ("All layers together: 1.", "unchanged: 1", "tolerance: 0.4", "solved tolerance of each layer: 0."):
        assert part in shown


def test_what_cannot_be() -> None:
    with pytest.raises(MethodError, match="expected one of tolerance and sparsity, found neither"):
        made().proposal()
    with pytest.raises(MethodError, match="expected one of tolerance and sparsity, found both"):
        made().proposal(0.1, 0.1)
    with pytest.raises(MethodError, match=r"sparsity is 0\.95, but the largest measured gives 0\.9"):
        made().proposal(sparsity=0.95)
    with pytest.raises(MethodError, match="no bits were measured; call sensitivity with bits"):
        made(by_bits={}).proposal(0.1, only="bits")
    with pytest.raises(MethodError, match="no sparsities were measured"):
        made(by_sparsity={}).proposal(sparsity=0.1)
    with pytest.raises(MethodError, match="only is 'bits', but sparsity is given"):
        made().proposal(sparsity=0.1, only="bits")
    with pytest.raises(MethodError, match="these measurements have no model"):
        replace(made(), trial=None).proposal(0.1)
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
