"""Which optimizers and parameters a method knows, and how methods get on with one another."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import demitasse
from demitasse.errors import MethodError
from demitasse.methods.records import record_of
from tests.methods.playground import backward, batches, check, net, pruned, sgd, train, weights


def test_tied_weights_are_counted_once() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    model[1].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    surgery = pruned(model, optimizer, sparsity=0.5)
    for _ in range(8):
        optimizer.zero_grad()
        model(torch.randn(4, 8)).square().sum().backward()
        optimizer.step()
    report = surgery.report()
    assert (report.total, report.kept, len(report.rows)) == (64, 32, 1)
    assert "0.weight is also 1.weight" in str(report)


def test_parameters_added_to_the_optimizer_later() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.conv.parameters(), lr=0.05)
    surgery = pruned(model, optimizer, ramp=0)
    train(model, optimizer, 3)
    check(model, surgery)
    optimizer.add_param_group({"params": list(model.fc.parameters()), "weight_decay": 0.1})
    train(model, optimizer, 10, after=lambda: check(model, surgery))
    assert surgery.records["fc.weight"].ensure_reserve().any()
    assert surgery.report().sparsity == pytest.approx(0.8, abs=1e-3)


def test_parameters_removed_from_the_optimizer() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 10)
    gone = model.fc.weight
    for group in optimizer.param_groups:
        group["params"] = [parameter for parameter in group["params"] if parameter is not gone]
    before = weights(model)
    train(model, optimizer, 3, after=lambda: check(model, surgery))
    assert not torch.equal(before["conv.weight"], model.conv.weight)
    kept = (before["fc.weight"] != 0) & (gone != 0)
    assert torch.equal(before["fc.weight"][kept], gone[kept])


def test_two_methods_on_one_model() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 20)
    quantize = demitasse.IncrementalQuantization(model, optimizer, bits=4)
    masks = surgery.masks()
    for _ in quantize:
        train(model, optimizer, 5, after=lambda: check(model, surgery, quantize))
    assert all(torch.equal(masks[name], mask) for name, mask in surgery.masks().items())
    assert surgery.report().sparsity == pytest.approx(0.8, abs=0.01)
    assert quantize.report().frozen_share == 1
    surgery.finish()
    train(model, optimizer, 5, after=lambda: check(model, quantize))
    quantize.finish()
    assert "step" not in optimizer.__dict__
    assert not [parameter for parameter in model.parameters() if record_of(parameter)]


def test_surgery_finished_before_quantization_ends_stays_cut() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    quantize = demitasse.IncrementalQuantization(model, optimizer, bits=4, portions=(0.5, 1.0))
    train(model, optimizer, 20)
    zeros = {name: record.values == 0 for name, record in surgery.records.items()}
    surgery.finish()
    train(model, optimizer, 5, after=lambda: check(model, quantize))
    for name, zero in zeros.items():
        assert not quantize.records[name].values[zero].any()


def test_quantization_after_finished_pruning_keeps_the_zeros() -> None:
    model = net()
    optimizer = sgd(model)
    pruning = demitasse.MagnitudePruning(model, optimizer, sparsity=0.7, ramp=5)
    train(model, optimizer, 10)
    pruning.finish()
    quantize = demitasse.IncrementalQuantization(model, optimizer, bits=4)
    for _ in quantize:
        train(model, optimizer, 5)
    assert quantize.report().sparsity >= 0.7 - 1e-3


def test_two_prunings_of_one_parameter_are_refused() -> None:
    model = net()
    optimizer = sgd(model)
    pruned(model, optimizer, parameters=["conv"])
    with pytest.raises(MethodError, match=r"conv\.weight already has a Surgery; finish that first"):
        demitasse.MagnitudePruning(model, optimizer, sparsity=0.5)
    demitasse.MagnitudePruning(model, optimizer, sparsity=0.5, parameters=["fc"], ramp=2)
    train(model, optimizer, 5)


def test_frozen_layers_stay_as_they_are() -> None:
    model = net()
    model.conv.requires_grad_(False)
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    assert [(item.name, item.reason) for item in surgery.dense if item.name == "conv.weight"] == [
        ("conv.weight", "requires no gradient")
    ]
    before = model.conv.weight.clone()
    train(model, optimizer, 10)
    assert torch.equal(before, model.conv.weight)


def test_layers_frozen_later_keep_their_masks() -> None:
    model = net()
    optimizer = sgd(model)
    pruned(model, optimizer)
    train(model, optimizer, 10)
    model.conv.requires_grad_(False)
    optimizer.zero_grad(set_to_none=True)
    before = model.conv.weight.clone()
    train(model, optimizer, 10)
    assert torch.equal(before, model.conv.weight)


def test_an_optimizer_that_the_method_does_not_know(tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 5)
    train(model, torch.optim.Adam(model.parameters()), 1)
    message = r"conv\.weight was stepped by Adam, which Surgery does not know; give it all optimizers of the model"
    for action in (surgery.report, surgery.finish, lambda: demitasse.save(model, tmp_path / "model.safetensors")):
        with pytest.raises(MethodError, match=message):
            action()
    assert not list(tmp_path.iterdir())
    surgery.load_state_dict(surgery.state_dict())
    surgery.report()


def test_an_optimizer_of_other_parameters_is_no_stranger() -> None:
    model, other = net(), net(1)
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    train(other, sgd(other), 2)
    train(model, optimizer, 2)
    surgery.report()


def test_several_optimizers_of_one_model() -> None:
    model = net()
    first = torch.optim.Adam(model.conv.parameters(), lr=0.01)
    second = torch.optim.SGD([*model.norm.parameters(), *model.fc.parameters()], lr=0.05)
    surgery = pruned(model, [first, second])
    for batch in batches(10):
        backward(model, batch)
        first.step()
        second.step()
        check(model, surgery)
    assert surgery.iteration == 10
    assert surgery.finish().sparsity == pytest.approx(0.8, abs=1e-3)


def test_an_optimizer_inside_an_optimizer_is_no_stranger() -> None:
    class Outer(torch.optim.Optimizer):
        def __init__(self, inner: torch.optim.Optimizer) -> None:
            super().__init__([parameter for group in inner.param_groups for parameter in group["params"]], {})
            self.base = inner

        def step(self, closure=None):  # type: ignore[no-untyped-def]
            return self.base.step(closure)

    model = net()
    outer = Outer(sgd(model))
    surgery = pruned(model, outer)
    train(model, outer, 10, after=lambda: check(model, surgery))
    assert surgery.report().iteration == 10


def test_the_wrong_optimizer_is_refused() -> None:
    with pytest.raises(MethodError, match="the SGD trains no parameter of this Net"):
        pruned(net(), sgd(net(1)))
    with pytest.raises(MethodError, match=r"optimizer is a list_iterator; expected a torch\.optim\.Optimizer"):
        pruned(net(), iter([]))  # type: ignore[arg-type]
    with pytest.raises(MethodError, match="no optimizer is given"):
        pruned(net(), [])  # type: ignore[arg-type]
    model = net()
    with pytest.raises(MethodError, match="trains none of the chosen parameters"):
        pruned(model, torch.optim.SGD(model.norm.parameters(), lr=0.1))


def test_parameters_replaced_in_the_module_are_noticed() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    model.fc.weight = nn.Parameter(model.fc.weight.detach().clone())
    with pytest.raises(MethodError, match=r"fc\.weight was replaced in the module"):
        train(model, optimizer, 1)
    with pytest.raises(MethodError, match="after fully_shard"):
        surgery.report()
    with pytest.raises(MethodError, match="after fully_shard"):
        train(model, sgd(model), 1)


def test_a_scheduler_made_before_or_after_attaching_does_not_warn() -> None:
    for before in (True, False):
        model = net()
        optimizer = sgd(model)
        if before:
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
        surgery = pruned(model, optimizer)
        if not before:
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
        train(model, optimizer, 5, after=scheduler.step)
        check(model, surgery)
        surgery.finish()
        train(model, optimizer, 2, after=scheduler.step)
        assert (model.fc.weight != 0).all()


def replaced(model: nn.Sequential) -> None:
    model[2] = nn.Linear(8, 4)


def assigned(model: nn.Sequential) -> None:
    model[2].weight = nn.Parameter(torch.randn(4, 8))


def deleted(model: nn.Sequential) -> None:
    del model[2]


def parametrized(model: nn.Sequential) -> None:
    nn.utils.parametrizations.weight_norm(model[2])


def tied_to_another(model: nn.Sequential) -> None:
    model[2].weight = model[3].weight


def given_to_another(model: nn.Sequential) -> None:
    model[3].weight = model[2].weight


def emptied(model: nn.Sequential) -> None:
    model.to(device="meta")
    model.to_empty(device="cpu")


CHANGES = [replaced, assigned, deleted, parametrized, tied_to_another, given_to_another, emptied]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("kind", ["Surgery", "MagnitudePruning", "IncrementalQuantization"])
def test_a_module_that_was_changed_is_noticed_everywhere(kind: str, change, tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.Embedding(4, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    settings = {"bits": 4} if kind == "IncrementalQuantization" else {"sparsity": 0.5, "ramp": 0}
    method = getattr(demitasse, kind)(model, optimizer, **settings)

    def step() -> None:
        model[:2](torch.randn(2, 6)).sum().backward()
        optimizer.step()

    step()
    change(model)
    for action in (method.report, method.finish, lambda: demitasse.save(model, tmp_path / "model.demi"), step):
        with pytest.raises(
            MethodError, match=rf"(in the module|2\.weight is now also 3\.weight).* attach {kind} after"
        ):
            action()
    assert not list(tmp_path.iterdir())


def tied_to_the_first(model: nn.Sequential) -> None:
    model[1].weight = model[0].weight


def tied_to_the_last(model: nn.Sequential) -> None:
    model[0].weight = model[1].weight


def swapped(model: nn.Sequential) -> None:
    model[0].weight, model[1].weight = model[1].weight, model[0].weight


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (tied_to_the_first, r"0\.weight is now also 1\.weight; attach {} after parameters are tied"),
        (tied_to_the_last, r"1\.weight is now also 0\.weight; attach {} after parameters are tied"),
        (swapped, r"0\.weight was replaced in the module; attach {} after"),
    ],
)
@pytest.mark.parametrize("kind", ["Surgery", "MagnitudePruning", "IncrementalQuantization"])
def test_compressed_parameters_that_changed_places_are_noticed(kind: str, change, message: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    settings = {"bits": 4} if kind == "IncrementalQuantization" else {"sparsity": 0.5, "ramp": 0}
    method = getattr(demitasse, kind)(model, optimizer, **settings)
    change(model)
    actions = method.report, method.finish, lambda: demitasse.save(model, tmp_path / "model.demi"), optimizer.step
    for action in actions:
        with pytest.raises(MethodError, match=message.format(kind)):
            action()
    assert not list(tmp_path.iterdir())


def test_saving_notices_that_the_only_compressed_layer_was_replaced(tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = nn.Sequential(nn.ReLU(), nn.Linear(4, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    surgery = pruned(model, optimizer)
    model[1] = nn.Linear(4, 4)
    with pytest.raises(MethodError, match=r"1\.weight was replaced in the module"):
        demitasse.save(model, tmp_path / "model.demi")
    assert surgery.iteration == 0


def test_wrapping_a_layer_after_attaching_changes_nothing() -> None:
    class Wrapper(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.inner(inputs)

    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    model.fc = Wrapper(model.fc)  # type: ignore[assignment]
    train(model, optimizer, 8, after=lambda: check(model, surgery))
    assert surgery.finish().sparsity == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("kind", ["Surgery", "MagnitudePruning"])
def test_pruning_after_quantization_is_refused(kind: str) -> None:
    model = net()
    optimizer = sgd(model)
    quantize = demitasse.IncrementalQuantization(model, optimizer, bits=4)
    next(iter(quantize))
    message = r"IncrementalQuantization is freezing conv\.weight, so .* could cut nothing; prune first"
    with pytest.raises(MethodError, match=message):
        getattr(demitasse, kind)(model, optimizer, sparsity=0.9)
    train(model, optimizer, 2, after=lambda: check(model, quantize))
    quantize.finish()
    assert not [parameter for parameter in model.parameters() if record_of(parameter)]


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({"sparsity": 0.9, "ramp": 20}, 20), ({"sparsity": 0.9, "ramp": 0}, 1), ({"c_rate": 1.0, "begin": 5}, 6)],
)
def test_freezing_before_the_pruning_is_done_is_refused(settings: dict[str, Any], steps: int) -> None:
    model = net()
    optimizer = sgd(model)
    surgery = demitasse.Surgery(model, optimizer, gamma=0, **settings)
    quantize = demitasse.IncrementalQuantization(model, optimizer, bits=4)
    train(model, optimizer, steps - 1)
    with pytest.raises(
        MethodError,
        match=r"conv\.weight would be frozen at step .*, before Surgery has reached its target, .*; prune first",
    ):
        quantize.freeze()
    assert not quantize.records["conv.weight"].has_frozen
    train(model, optimizer, 1)
    for _ in quantize:
        train(model, optimizer, 2, after=lambda: check(model, surgery, quantize))
    if "sparsity" in settings:
        assert surgery.report().sparsity >= 0.9 - 1e-3


def test_a_pruning_of_nothing_does_not_stand_in_the_way() -> None:
    model = net()
    optimizer = sgd(model)
    demitasse.Surgery(model, optimizer, sparsity=0.0)
    demitasse.IncrementalQuantization(model, optimizer, bits=4).freeze()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", ["Surgery", "MagnitudePruning", "IncrementalQuantization"])
def test_weights_that_are_not_finite_are_refused_by_name(kind: str, bad: float) -> None:
    model = net()
    with torch.no_grad():
        model.fc.weight[3, 5] = bad
    settings = {"bits": 4} if kind == "IncrementalQuantization" else {"sparsity": 0.5}
    optimizer = sgd(model)
    with pytest.raises(MethodError, match=rf"the largest weight of fc\.weight is {bad}; expected a finite number"):
        getattr(demitasse, kind)(model, optimizer, **settings)
    assert "step" not in optimizer.__dict__
    getattr(demitasse, kind)(model, optimizer, exclude=["fc"], **settings).finish()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("settings", [{"sparsity": 0.5}, {"sparsity": 0.5, "scope": "layer"}, {"c_rate": 0.5}], ids=str)
def test_a_run_that_diverges_is_noticed_at_the_decision_and_in_the_report(settings, bad: float) -> None:  # type: ignore[no-untyped-def]
    model = net()
    optimizer = sgd(model)
    surgery = demitasse.Surgery(model, optimizer, **settings, begin=1, gamma=0)
    train(model, optimizer, 1)
    with torch.no_grad():
        model.fc.weight[3, 5] = bad
    with pytest.raises(MethodError, match=r"weights? of fc\.weight are not finite; the run diverged"):
        optimizer.step()
    for action in (surgery.report, surgery.finish):
        with pytest.raises(MethodError, match=r"the largest weight of fc\.weight is (nan|inf)"):
            action()


def test_without_an_optimizer_the_message_says_what_to_do() -> None:
    for method, settings in (
        (demitasse.Surgery, {"sparsity": 0.8}),
        (demitasse.MagnitudePruning, {"sparsity": 0.8}),
        (demitasse.IncrementalQuantization, {"bits": 4}),
    ):
        name = method.__name__
        with pytest.raises(
            MethodError, match=rf"no optimizer is given, and {name} decides .*; create .* attach {name}\(model"
        ):
            method(net(), **settings)  # type: ignore[operator]
    with pytest.raises(MethodError, match=r"model is a SGD; expected a torch\.nn\.Module"):
        demitasse.Surgery(sgd(net()), net(), sparsity=0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(("sparsity", "floor"), [(0.9, 0.1), (0.8, 0.2), (0.7, 0.3), (0.99, 0.01)])
def test_a_floor_may_be_all_that_the_sparsity_keeps(sparsity: float, floor: float) -> None:
    model = net()
    demitasse.Surgery(model, sgd(model), sparsity=sparsity, floor=floor)
    with pytest.raises(MethodError, match="floor is"):
        demitasse.MagnitudePruning(net(), sgd(net()), sparsity=sparsity, floor=floor + 0.001)
