"""Every argument of the methods, of sensitivity, of optim and of the stages of recipes, given what has no meaning."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import demitasse
from demitasse.errors import MethodError
from demitasse.integrations.compression import Compression
from demitasse.methods import settings
from demitasse.methods.sensitivity import LayerSensitivity, Sensitivity
from demitasse.optim import LARS, WarmUp
from demitasse.zoo.stages import STAGES
from tests.methods.playground import net, sgd, train

NAN, INF = math.nan, math.inf
STEPS = (NAN, INF, -1, 1.5, "x", None, True, [1])
NUMBERS = (NAN, INF, -1.0, "x", None, True, (1,))
SHARES = (NAN, INF, -0.5, 1.5, "x", True, [0.5])
WORDS = ("x", "", None, 1, NAN, ["global"])
PATTERNS = (5, [], [1], [None], {"fc": 1, 2: 3}, nn.Linear(2, 2))

# what is given, beside what is needed, and for which argument: what has no meaning for it
COMMON: dict[str, tuple[Any, ...]] = {
    "parameters": PATTERNS,
    "exclude": (5, [1], [nn.Linear(2, 2)]),
    "seed": (NAN, "x", 1.5, None, True, 1 << 70),
}
PRUNING = {
    **COMMON,
    "sparsity": (*SHARES, {"fc": 1.5}, {"fc": "x"}, {"fc": NAN}, {}),
    "scope": WORDS,
    "begin": STEPS,
    "ramp": STEPS,
    "floor": (*SHARES, None, 0.3),
    "keep_zeros": ("x", 1, NAN, []),
}
SURGERY = {
    **PRUNING,
    "gamma": NUMBERS,
    "power": NUMBERS,
    "alpha_low": (*NUMBERS, 0.0, 2.0),
    "alpha_high": (*NUMBERS, 0.5),
    "stop": (NAN, -1, 1.5, "x", True, 3),
}
THRESHOLD = {"c_rate": (NAN, INF, "x", True, [1.0], {"fc": NAN}, {"fc": "x"}, {}), "begin": STEPS}
MAGNITUDE = {**PRUNING, "every": (*STEPS, 0)}
QUANTIZATION = {
    **COMMON,
    "portions": (
        0.5,
        "x",
        None,
        (),
        (NAN,),
        (INF,),
        (-0.5, 1.0),
        (0.0, 1.0),
        (1.0, 0.5),
        (0.5, 1.5),
        ("x",),
        (True,),
        {0.5: 1},
    ),
    "partition": WORDS,
    "per": WORDS,
    "fit": WORDS,
    "bits": (NAN, INF, -1, 0, 1, 4.5, "4", True, [4]),
}


def labelled(name: str, value: object) -> str:
    """Returns the name of a case, the same in every process."""
    return f"{name}={value!r}".split(" at 0x")[0][:40]


def cases(table: dict[str, tuple[Any, ...]]) -> list[Any]:
    return [pytest.param(name, value, id=labelled(name, value)) for name, values in table.items() for value in values]


def refused(make: Callable[..., object], name: str, value: object, **others: object) -> None:
    with pytest.raises(MethodError) as caught:
        make(**{**others, name: value})
    message = str(caught.value)
    assert name in message or (name in ("alpha_low", "alpha_high") and "alpha_" in message)
    assert "expected" in message or "no pattern" in message or "no sign" in message or "before the ramp" in message


def attached(kind: str) -> Callable[..., object]:
    def make(**given: object) -> None:
        model = net()
        optimizer = sgd(model)
        try:
            getattr(demitasse, kind)(model, optimizer, **given)
        finally:
            assert "step" not in optimizer.__dict__

    return make


@pytest.mark.parametrize(("name", "value"), cases(SURGERY))
def test_surgery(name: str, value: object) -> None:
    refused(attached("Surgery"), name, value, sparsity=0.8, ramp=4)


@pytest.mark.parametrize(("name", "value"), cases(THRESHOLD))
def test_surgery_by_a_threshold(name: str, value: object) -> None:
    refused(attached("Surgery"), name, value, c_rate=1.0)


@pytest.mark.parametrize(("name", "value"), cases(MAGNITUDE))
def test_magnitude_pruning(name: str, value: object) -> None:
    refused(attached("MagnitudePruning"), name, value, sparsity=0.8)


@pytest.mark.parametrize(("name", "value"), cases(QUANTIZATION))
def test_quantization(name: str, value: object) -> None:
    refused(attached("IncrementalQuantization"), name, value, bits=4)


def test_whole_floats_are_steps_and_numbers_of_numpy_are_numbers() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = demitasse.Surgery(
        model,
        optimizer,
        sparsity=np.float32(0.5),
        ramp=1e1,
        begin=np.int64(2),
        stop=1e3,
        gamma=0,
        seed=np.int32(3),  # type: ignore[arg-type]
    )
    train(model, optimizer, 15)
    assert surgery.report().sparsity == 0.5
    assert (surgery.ramp.begin, surgery.ramp.steps, surgery.seed) == (2, 10, 3)


@pytest.mark.parametrize("given", [None, 5, [1], {1: torch.ones(2)}, {"mask.fc.weight": 3}, {None: 1, "a": 2}])
def test_states_and_masks_that_are_none(given: object) -> None:
    model = net()
    surgery = demitasse.Surgery(model, sgd(model), sparsity=0.5)
    for name, take in (("state", surgery.load_state_dict), ("masks", surgery.load_masks)):
        with pytest.raises(MethodError, match=rf"{name} (is|has) .*; expected"):
            take(given)  # type: ignore[operator]


def test_an_averaged_model_that_is_none() -> None:
    model = net()
    surgery = demitasse.Surgery(model, sgd(model), sparsity=0.5)
    with pytest.raises(MethodError, match=r"averaged_model is \{\}; expected a torch\.nn\.Module"):
        surgery.finish({})  # type: ignore[arg-type]
    assert not surgery.is_finished


MEASURED: dict[str, tuple[Any, ...]] = {
    "model": (None, "net"),
    "evaluate": (None, 1.0, lambda model: None, lambda model: "x", lambda model: torch.ones(2)),
    "sparsities": (0.5, None, "x", {0.5: 1}, (1.5,), (NAN,), ("x",), torch.tensor(0.5)),
    "bits": (4, None, "4", (1,), (4.5,), (NAN,), ("4",)),
    "parameters": PATTERNS,
    "progress": (5, "x"),
}


@pytest.mark.parametrize(("name", "value"), cases(MEASURED))
def test_sensitivity(name: str, value: object) -> None:
    def make(**given: Any) -> None:
        demitasse.sensitivity(**given)

    refused(make, name, value, model=net(), evaluate=lambda model: 1.0, sparsities=(0.5,), bits=(4,))


@pytest.mark.parametrize(
    ("name", "value"), cases({"tolerance": (NAN, INF, -1, "x", True), "sparsity": (NAN, -1, 1.5, "x", True)})
)
def test_proposals(name: str, value: object) -> None:
    found = Sensitivity(1.0, (LayerSensitivity("a", 100, {0.5: 1.0}, {4: 1.0}),))
    refused(found.proposal, name, value)


@pytest.mark.parametrize(("name", "value"), cases({"only": ("both", 5), "progress": (5, "x")}))
def test_what_is_proposed(name: str, value: object) -> None:
    found = Sensitivity(1.0, (LayerSensitivity("a", 100, {0.5: 1.0}, {4: 1.0}),))
    refused(found.proposal, name, value, tolerance=0.1)


BATCH_NORM: dict[str, tuple[Any, ...]] = {"model": (None, "net"), "batches": (None, 5), "forward": (5, "x")}


@pytest.mark.parametrize(("name", "value"), cases(BATCH_NORM))
def test_recalibration(name: str, value: object) -> None:
    refused(demitasse.recalibrate_batch_norm, name, value, model=net(), batches=[torch.ones(2, 1, 8, 8)])


RATES: dict[str, tuple[Any, ...]] = {
    "lr": (*NUMBERS, torch.ones(2), torch.tensor(NAN)),
    "momentum": (*NUMBERS, 1.0),
    "weight_decay": NUMBERS,
    "trust": NUMBERS,
    **dict.fromkeys(("nesterov", "maximize", "exclude_1d", "caffe", "foreach"), ("x", 1, NAN, [])),
    "params": (None, 5, [], [5], torch.ones(2), [{"params": []}, 3]),
}


@pytest.mark.parametrize(("name", "value"), cases(RATES))
def test_lars(name: str, value: object) -> None:
    if name == "params" and value == []:
        with pytest.raises(MethodError, match="params: optimizer got an empty parameter list"):
            LARS([])
        return
    with pytest.raises(MethodError, match="param" if name == "params" else name):
        LARS(**{"params": [nn.Parameter(torch.ones(2, 2))], name: value})  # type: ignore[arg-type]


WARM: dict[str, tuple[Any, ...]] = {
    "optimizer": (None, "sgd", net()),
    "steps": (NAN, INF, -1, 1.5, "x", None, True),
    "scheduler": (5, "x"),
    "start": NUMBERS,
    "min_lr": NUMBERS,
}


@pytest.mark.parametrize(("name", "value"), cases(WARM))
def test_warm_up(name: str, value: object) -> None:
    refused(WarmUp, name, value, optimizer=sgd(net()), steps=3)


@pytest.mark.parametrize("state", [None, {}, {"rates": [1]}, 5])
def test_the_state_of_a_warm_up(state: Any) -> None:
    with pytest.raises(MethodError, match="not that of a WarmUp; expected"):
        WarmUp(sgd(net()), 3).load_state_dict(state)


TRAINING = {
    "epochs": (NAN, 0, -1, 1.5, "x", None, True),
    "lr": NUMBERS,
    "weight_decay": NUMBERS,
    "clip": NUMBERS,
    "accumulate": (NAN, 0, 1.5, "x", None),
    "warmup": SHARES,
    "momentum": SHARES,
    "betas": ((NAN, 0.5), ("x", 0.5)),
}
STAGE_OF_PRUNING = {
    **TRAINING,
    "sparsity": (*SHARES[:-1], {"fc": 1.5}, {}),
    "begin": SHARES,
    "ramp": SHARES,
    "scope": WORDS,
    "floor": (*SHARES, 0.3),
}
OF_STAGES: dict[str, tuple[dict[str, Any], dict[str, tuple[Any, ...]]]] = {
    "train": ({}, TRAINING),
    "surgery": (
        {"sparsity": 0.8, "ramp": 0.3},
        {**STAGE_OF_PRUNING, "stop": SHARES, **dict.fromkeys(("gamma", "power", "alpha_low", "alpha_high"), NUMBERS)},
    ),
    "magnitude": ({"sparsity": 0.8}, {**STAGE_OF_PRUNING, "every": (NAN, 0, 1.5, "x")}),
    "quantize": (
        {"bits": 4},
        {**TRAINING, "bits": (NAN, 1, 4.5, "4", 99), "portions": (0.5, (NAN,), ("x",)), "per": WORDS},
    ),
    "rescale": ({}, {"exponents": (NAN, 0, 1.5, "x", None)}),
    "recalibrate": ({}, {"batches": (NAN, 0, 1.5, "x", None)}),
}


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        pytest.param(kind, name, value, id=labelled(f"{kind} {name}", value))
        for kind, (_, table) in OF_STAGES.items()
        for name, values in table.items()
        for value in values
    ],
)
def test_stages(kind: str, name: str, value: object) -> None:
    needed = {"epochs": 1, "lr": 0.1} if "epochs" in OF_STAGES[kind][1] else {}

    def make(**given: object) -> None:
        STAGES[kind](**given).check("recipe.toml: [[stages]] 1", [])

    refused(make, name, value, **needed, **OF_STAGES[kind][0])


def test_a_stage_of_surgery_by_thresholds() -> None:
    for value in (NAN, INF, "x", {"fc": NAN}):
        with pytest.raises(MethodError, match=r"recipe: c_rate is .*; expected a (finite )?number"):
            STAGES["surgery"](epochs=1, lr=0.1, c_rate=value).check("recipe", [])  # type: ignore[call-arg]


@pytest.mark.parametrize("value", SHARES)
def test_when_the_portions_of_an_integration_begin(value: Any) -> None:
    with pytest.raises(MethodError, match="portions_from is .*; expected a share"):  # noqa: RUF043
        Compression(lambda model, optimizer: [], value)
    with pytest.raises(MethodError, match="attach is 5; expected a function"):
        Compression(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-0.1, 1.1, NAN, "all"])
def test_shares(value: Any) -> None:
    with pytest.raises(MethodError, match="expected a share from 0 to 1"):
        settings.share("sparsity", value)


def test_long_values_are_shortened() -> None:
    with pytest.raises(MethodError) as caught:
        settings.number("gamma", "x" * 10**6)
    assert len(str(caught.value)) < 200
