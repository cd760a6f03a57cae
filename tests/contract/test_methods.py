"""One suite over every method for PyTorch modules: what each must do, whatever it decides."""

from __future__ import annotations

import copy
import inspect
import pickle
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest
import torch
from torch import nn

import demitasse
import demitasse.methods
from demitasse.errors import DemitasseError, MethodError, WeightsError
from demitasse.methods.method import Method
from demitasse.methods.records import FREE, known_records
from tests.methods.playground import Net, backward, batches, check, net, same, sgd

STEPS = 6
# settings under which each method is done after STEPS steps
SETTINGS = {
    "Surgery": [{"sparsity": 0.8, "ramp": 4, "gamma": 0.0}, {"c_rate": 0.3, "gamma": 0.5, "seed": 4}],
    "MagnitudePruning": [{"sparsity": 0.8, "ramp": 4}, {"sparsity": {"fc.weight": 0.5, "conv.*": 0.25}, "ramp": 4}],
    "IncrementalQuantization": [
        {"bits": 4, "portions": (0.5, 1.0)},
        {"exponents": 3, "portions": (0.5, 1.0), "partition": "random", "per": "channel", "fit": "error"},
    ],
}
# of the keywords that a method has: what it must refuse, by name
WRONG = {
    "sparsity": [-0.1, 1.5, float("nan"), "much", {"no.such.name": 0.5}],
    "c_rate": [float("nan"), "much"],
    "parameters": [["no.such.name"], 3],
    "ramp": [-1, 0.5],
    "begin": [-1, "now"],
    "every": [0, 1.5],
    "gamma": [-1.0, float("nan")],
    "alpha_low": [0, -1.0],
    "scope": ["all"],
    "floor": [-0.1, 1.5],
    "bits": [1, 2.5, 99],
    "exponents": [0, (3, 1)],
    "portions": [(), (0.5, 0.5), (0.0, 1.0), (2.0,)],
    "partition": ["smallest"],
    "per": ["row"],
    "fit": ["best"],
}
# values of these are right in every combination that is tried here, or are refused by no method
FREE_KEYWORDS = {"exclude", "power", "stop", "alpha_high", "keep_zeros", "seed"}


for _module in pkgutil.iter_modules(demitasse.methods.__path__):
    import_module(f"demitasse.methods.{_module.name}")


def methods() -> Iterator[type[Method]]:
    """Yields every class of methods that can be attached."""
    waiting = [Method]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if not inspect.isabstract(kind) and kind.__module__.startswith("demitasse."):
            yield kind


METHODS = {kind.__name__: kind for kind in sorted(methods(), key=lambda kind: kind.__name__)}
CASES = [(name, settings) for name in METHODS for settings in SETTINGS.get(name, [])]
each_case = pytest.mark.parametrize(("name", "settings"), CASES, ids=[f"{n}-{'-'.join(s)}" for n, s in CASES])


def attached(name: str, settings: dict[str, object]) -> tuple[Net, torch.optim.SGD, Method]:
    model = net()
    optimizer = sgd(model)
    return model, optimizer, METHODS[name](model, optimizer, **settings)


def run(model: nn.Module, optimizer: torch.optim.Optimizer, method: Method, start: int = 0, end: int = STEPS) -> None:
    """Trains; a method that is iterated over takes its next portion in every third step."""
    for step, batch in list(enumerate(batches(STEPS)))[start:end]:
        if hasattr(method, "freeze") and step % 3 == 0:
            method.freeze()
        backward(model, batch)
        optimizer.step()


def test_every_method_is_here():
    assert set(SETTINGS) == set(METHODS), "give the new method a line in SETTINGS"
    assert all(getattr(demitasse, name) is METHODS[name] for name in METHODS), "import the new method in demitasse"
    keywords = {
        name
        for kind in METHODS.values()
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert set(WRONG) | FREE_KEYWORDS == keywords, "say in WRONG what the new setting must not be"


@each_case
def test_what_is_cut_is_zero_and_what_is_frozen_a_power_of_two(name, settings):
    model, optimizer, method = attached(name, settings)
    for end in range(1, STEPS + 1):
        run(model, optimizer, method, end - 1, end)
        check(model, method)
    rows = method.report().rows
    assert sum(row.kept for row in rows) < sum(row.total for row in rows) or all(row.frozen for row in rows)
    for row in rows:
        tensor = dict(model.named_parameters())[row.name]
        assert row.kept == int(torch.count_nonzero(tensor))
        assert row.total == tensor.numel()


@each_case
def test_a_resume_is_the_unbroken_run(name, settings):
    model, optimizer, method = attached(name, settings)
    run(model, optimizer, method, end=4)
    states = copy.deepcopy([one.state_dict() for one in (model, optimizer, method)])
    assert all(isinstance(tensor, torch.Tensor) for tensor in states[2].values())
    run(model, optimizer, method, start=4)
    again = attached(name, settings)
    for one, state in zip(again, states, strict=True):
        one.load_state_dict(state)
    taken = again[2].state_dict()
    assert taken.keys() == states[2].keys()
    assert all(torch.equal(taken[key], states[2][key]) for key in taken)
    run(*again, start=4)
    assert same(model, again[0])
    assert str(method.report()) == str(again[2].report())


@each_case
def test_a_state_of_something_else_is_refused_and_changes_nothing(name, settings):
    model, optimizer, method = attached(name, settings)
    run(model, optimizer, method, end=2)
    state, before = method.state_dict(), copy.deepcopy(method.state_dict())
    first = next(key for key in state if "." in key and not key.startswith(method.optional or ("-",)))
    wrong = [
        {key: tensor for key, tensor in state.items() if key != first},
        {**state, "mask.no.such.name": torch.zeros(1)},
        {**state, first: torch.zeros(7, 7, 7)},
    ]
    for given in wrong:
        with pytest.raises(WeightsError):
            method.load_state_dict(given)
    with pytest.raises(MethodError):
        method.load_state_dict([])
    after = method.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)


@each_case
def test_finish_may_be_called_twice_and_leaves_an_ordinary_module(name, settings):
    model, optimizer, method = attached(name, settings)
    run(model, optimizer, method)
    first = method.finish()
    before = copy.deepcopy(model.state_dict())
    second = method.finish()
    assert str(first) == str(second)
    assert all(torch.equal(before[key], model.state_dict()[key]) for key in before)
    parameters = list(model.parameters())
    assert not [record for record in known_records() if any(record.parameter is one for one in parameters)]
    again = METHODS[name](model, optimizer, **settings)  # nothing of the first is left
    assert again.iteration == 0


@each_case
def test_the_module_is_copied_and_pickled_and_the_method_is_not(name, settings):
    model, optimizer, method = attached(name, settings)
    run(model, optimizer, method, end=2)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(twin) is Net
        assert same(model, twin)
        assert list(twin.state_dict()) == list(net().state_dict())
    with pytest.raises(DemitasseError):
        copy.deepcopy(method)


@each_case
def test_masks_say_what_is_kept(name, settings):
    model, optimizer, method = attached(name, settings)
    run(model, optimizer, method)
    masks = method.masks()
    assert masks.keys() == method.records.keys()
    for key, mask in masks.items():
        tensor = dict(model.named_parameters())[key]
        assert mask.dtype == torch.bool
        assert mask.shape == tensor.shape
        assert not tensor[~mask].any()


@pytest.mark.parametrize("name", ["Surgery", "MagnitudePruning"])
@pytest.mark.parametrize("share", [0.0, 0.1, 1 / 3, 0.5, 0.99])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_sparsity_is_exact_to_the_entry(name, share, scope):
    model, optimizer, method = attached(name, {"sparsity": share, "ramp": 2, "scope": scope, "floor": 0.0})
    run(model, optimizer, method)
    rows = method.report().rows
    groups = [rows] if scope == "global" else [[row] for row in rows]
    for group in groups:
        entries, kept = sum(row.total for row in group), sum(row.kept for row in group)
        assert entries - kept == int(share * entries + 0.5)


def test_all_is_frozen_by_the_last_portion():
    for settings in SETTINGS["IncrementalQuantization"]:
        _, _, method = attached("IncrementalQuantization", settings)
        for _ in method:
            pass
        assert not any(record.count(FREE) for record in method.records.values())
        with pytest.raises(MethodError, match="all portions are frozen"):
            method.freeze()


@pytest.mark.parametrize(
    ("name", "keyword", "value"),
    [
        (name, keyword, value)
        for name, kind in METHODS.items()
        for keyword in WRONG
        if keyword in inspect.signature(kind).parameters
        for value in WRONG[keyword]
    ],
)
def test_settings_without_meaning_are_refused_before_anything_is_attached(name, keyword, value):
    others = {key: given for key, given in SETTINGS[name][keyword == "c_rate"].items() if key != keyword}
    if keyword in ("bits", "exponents"):
        others.pop("bits", None), others.pop("exponents", None)
    model = net()
    optimizer = sgd(model)
    with pytest.raises(MethodError):
        METHODS[name](model, optimizer, **{**others, keyword: value})
    assert METHODS[name](model, optimizer, **SETTINGS[name][0]).iteration == 0
