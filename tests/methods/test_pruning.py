"""Pruning of a model that was pruned before: its zeros stay zero."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn

import demitasse
from demitasse.errors import MethodError
from tests.methods.playground import Net, net, same, sgd, train

KINDS = ("Surgery", "MagnitudePruning")
SETTINGS = {"sparsity": 0.95, "ramp": 20}


def sparse(share: float = 0.84) -> Net:
    """A net that was pruned elsewhere: so many weights of its linear layer are zero, none of its convolution."""
    model = net()
    with torch.no_grad():
        values = model.fc.weight.view(-1)
        values[values.abs().argsort()[: round(share * len(values))]] = 0
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [SETTINGS, {**SETTINGS, "begin": 5}, {**SETTINGS, "sparsity": 0.5}], ids=str)
def test_the_zeros_of_a_sparse_model_stay(kind: str, settings: dict[str, float]) -> None:
    model = sparse()
    zero = model.fc.weight == 0
    optimizer = sgd(model)
    method = getattr(demitasse, kind)(model, optimizer, **settings)
    for _ in range(3):
        train(model, optimizer, 1)
        assert not model.fc.weight[zero].any()
        assert int((model.fc.weight == 0).sum()) <= zero.sum() + 20
    train(model, optimizer, 27)
    assert not model.fc.weight[zero].any()
    report = method.report()
    # 1,210 of 1,476 were zero before
    assert report.kept == (74 if settings["sparsity"] == 0.95 else 266)
    assert "earlier zeros are kept (keep_zeros): fc.weight (84%)" in str(report)


def test_zeros_are_kept_where_a_threshold_is_given() -> None:
    model = sparse()
    zero = model.fc.weight == 0
    optimizer = sgd(model)
    demitasse.Surgery(model, optimizer, c_rate=0.5, begin=3)
    train(model, optimizer, 10)
    assert not model.fc.weight[zero].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("keep", "share", "kept"), [(None, 0.05, False), (True, 0.05, True), (False, 0.84, False)])
def test_keep_zeros_says_otherwise(kind: str, keep: bool | None, share: float, kept: bool) -> None:
    model = sparse(share)
    zero = model.fc.weight == 0
    optimizer = sgd(model)
    method = getattr(demitasse, kind)(model, optimizer, sparsity=0.95, ramp=1000, begin=10, keep_zeros=keep)
    train(model, optimizer, 3)
    assert bool(model.fc.weight[zero].any()) != kept
    assert ("keep_zeros" in str(method.report())) == kept


def test_a_layer_of_nothing_but_zeros_was_not_pruned() -> None:
    model = net()
    nn.init.zeros_(model.fc.weight)
    optimizer = sgd(model)
    demitasse.Surgery(model, optimizer, sparsity=0.5, ramp=10)
    train(model, optimizer, 2)
    assert (model.fc.weight != 0).float().mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", [0, 7, 25])
@pytest.mark.parametrize("twin", ["sparse", "fresh", "loaded"])
def test_a_resume_keeps_the_same_zeros(kind: str, start: int, twin: str) -> None:
    model = sparse()
    optimizer = sgd(model)
    method = getattr(demitasse, kind)(model, optimizer, **SETTINGS)
    train(model, optimizer, start)
    states = copy.deepcopy([one.state_dict() for one in (model, optimizer, method)])
    other = sparse() if twin == "sparse" else net(seed=5)
    if twin == "loaded":
        other.load_state_dict(states[0])
    its = sgd(other)
    resumed = getattr(demitasse, kind)(other, its, **SETTINGS)
    for one, state in zip((other, its, resumed), states, strict=True):
        one.load_state_dict(state)
    train(model, optimizer, 12, seed=9)
    train(other, its, 12, seed=9)
    assert same(model, other)
    assert all(torch.equal(mask, resumed.masks()[name]) for name, mask in method.masks().items())


def test_what_surgery_has_cut_is_no_zero_from_before_after_a_load() -> None:
    """A model that was loaded first looks as if it had been pruned elsewhere."""
    model = net()
    optimizer = sgd(model)
    surgery = demitasse.Surgery(model, optimizer, sparsity=0.8, ramp=5)
    train(model, optimizer, 10)
    state = surgery.state_dict()
    assert {name.split(".")[0] for name in state} == {"iteration", "seed", "mask", "reserve", "statistics", "threshold"}
    twin = net(seed=5)
    twin.load_state_dict(model.state_dict())
    resumed = demitasse.Surgery(twin, sgd(twin), sparsity=0.8, ramp=5)
    assert "keep_zeros" in str(resumed.report())
    resumed.load_state_dict(state)
    assert "keep_zeros" not in str(resumed.report())
    for name, record in surgery.records.items():
        assert torch.equal(record.status, resumed.records[name].status)


@pytest.mark.parametrize("value", ["yes", 1, float("nan")])
def test_keep_zeros_is_true_false_or_none(value: object) -> None:
    model = net()
    with pytest.raises(MethodError, match="keep_zeros is .*; expected True or False"):  # noqa: RUF043
        demitasse.Surgery(model, sgd(model), sparsity=0.5, keep_zeros=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsity": {"cnov": 0.5}}, r"sparsity: 'cnov' matches no parameter; did you mean 'conv"),
        ({"sparsity": {"fc": 0.5, "cnov": 0.5}, "parameters": ["fc"]}, r"sparsity: 'cnov' matches no parameter"),
        ({"sparsity": {"conv": 0.5}, "parameters": ["fc"]}, r"sparsity has a value for none of the chosen parameters"),
        ({"sparsity": {}}, "sparsity is empty; expected a number, or a mapping"),
        ({"c_rate": {"cnov": 0.5}}, r"c_rate: 'cnov' matches no parameter"),
    ],
)
def test_mappings_that_name_nothing(settings: dict[str, object], message: str) -> None:
    model = net()
    optimizer = sgd(model)
    with pytest.raises(MethodError, match=message):
        demitasse.Surgery(model, optimizer, **settings)  # type: ignore[arg-type]
    assert "step" not in optimizer.__dict__


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_layer_frozen_before_its_target_is_named_once(kind: str, scope: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    method = getattr(demitasse, kind)(model, optimizer, sparsity=0.5, ramp=4, scope=scope)
    model[0].requires_grad_(False)
    model(torch.ones(1, 16)).sum().backward()
    with pytest.warns(UserWarning, match=rf"{kind} misses its target: 0\.weight \(0\.00% zeros\) cannot be"):
        optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            optimizer.step()
    report = method.finish()
    assert report.notes == (
        "the target is not reached: 0.weight (0.00% zeros) cannot be pruned further without a gradient",
    )
    assert [row.kept for row in report.rows] == [256, 128]


def test_a_layer_frozen_before_its_threshold_is_taken_is_named() -> None:
    model = nn.Sequential(nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    surgery = demitasse.Surgery(model, optimizer, c_rate=0.5, gamma=0)
    model[1].requires_grad_(False)
    model(torch.ones(1, 16)).sum().backward()
    with pytest.warns(UserWarning, match=r"Surgery misses its target: 1\.weight"):
        optimizer.step()
    assert "1.weight (0.00% zeros) cannot be pruned further" in str(surgery.report())


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_frozen_after_its_target_is_not_named(kind: str) -> None:
    model = net()
    optimizer = sgd(model)
    method = getattr(demitasse, kind)(model, optimizer, sparsity=0.5, ramp=2)
    train(model, optimizer, 3)
    model.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
    assert method.report().notes == ()
