"""One suite over every registered kind of stage: what each must do, whatever it does to a model."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from demitasse.errors import DemitasseError
from demitasse.zoo.data import DATASETS
from demitasse.zoo.stages import STAGES, Stage, TrainingStage, Work
from demitasse.zoo.training import TrainingRun
from tests.zoo.recipes import Killed

PLACE = "recipe.toml: [[stages]] 3"
TRAINING = {"epochs": 2, "lr": 0.05, "momentum": 0.9}
SETTINGS: dict[str, dict[str, Any]] = {
    "train": TRAINING,
    "surgery": {**TRAINING, "sparsity": 0.7, "gamma": 0.0},
    "magnitude": {**TRAINING, "sparsity": 0.7},
    "quantize": {**TRAINING, "epochs": 1, "bits": 4, "portions": (0.5, 1.0)},
    "rescale": {"exponents": 3},
    "recalibrate": {"batches": 2},
    "pack": {"format": "demi"},
    "shrink": {"sparsity": 0.5, "bits": 4, "examples": 200},
}
# of any stage, of any that trains, and of each kind alone: what check() must refuse
ANY = ({"name": "a/b"}, {"name": "a#2"})
ANY_TRAINING = (
    *({"epochs": value} for value in (0, -1, 1.5, "2")),
    *({"lr": value} for value in (-0.1, float("nan"), "fast")),
    *({"optimizer": "sdg"}, {"schedule": "cosin"}, {"accumulate": 0}, {"clip": -1}, {"warmup": 2.0}, {"momentum": 1.5}),
    *({"weight_decay": float("nan")}, {"nesterov": True, "momentum": None}, {"betas": (0.9,)}, {"betas": (0.9, 1.0)}),
)
PRUNING = ({"sparsity": 1.5}, {"sparsity": None}, {"scope": "all"}, {"ramp": -0.1}, {"begin": 2.0}, {"floor": 2.0})
WRONG: dict[str, tuple[dict[str, Any], ...]] = {
    "train": (),
    "surgery": (*PRUNING, {"c_rate": 1.0}, {"gamma": -1.0}, {"alpha_low": 2.0}, {"stop": 0.4}, {"power": float("nan")}),
    "magnitude": (*PRUNING, {"every": 0}),
    "quantize": (
        *({"bits": None}, {"bits": 1}, {"exponents": 7}, {"portions": ()}, {"portions": (0.5, 0.2)}, {"per": "row"}),
        *({"bits": None, "exponents": (1, 2, 3)}, {"partition": "all"}, {"fit": "best"}, {"portions": (0.5, 2.0)}),
        *({"bits": {}}, {"bits": {"1": 1}}, {"bits": {"1": 4, "3": 2.5}}),
    ),
    "rescale": ({"exponents": 0}, {"exponents": 1.5}),
    "recalibrate": ({"batches": 0},),
    "pack": ({"format": "dem"},),
    "shrink": (
        *({"sparsity": 1.5}, {"sparsity": {}}, {"bits": 1}, {"bits": {"1": 2.5}}, {"max_bytes": 1000}),
        *({"sparsity": None, "bits": None, "max_bytes": 0}, {"grid": "pow3"}, {"per": "row"}, {"examples": 0}),
    ),
}
# kind -> stages behind which it has no meaning
NOT_BEHIND = {"train": ("surgery", "quantize", "shrink"), "surgery": ("quantize",), "magnitude": ("quantize",)}
NOT_BEHIND |= {"rescale": ("quantize",), "shrink": ("quantize",)}

each = pytest.mark.parametrize("kind", list(STAGES))


def made(kind: str, **changed: Any) -> Stage:
    return STAGES[kind](**{**SETTINGS[kind], **changed})


def chain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))


def work(folder: Path, model: nn.Module, **changed: Any) -> Work:
    folder.mkdir(exist_ok=True)
    return Work(model, DATASETS["digits"](None, batch=500), folder, **{"every": 1, "offset": 1, **changed})


def wrong(kind: str) -> list[dict[str, Any]]:
    training = ANY_TRAINING if issubclass(STAGES[kind], TrainingStage) else ()
    return [*ANY, *training, *WRONG.get(kind, ())]


def test_every_kind_is_here():
    assert set(SETTINGS) == set(STAGES), "give the new kind of stage a line in SETTINGS"
    assert set(WRONG) == set(STAGES), "say in WRONG what the new kind of stage refuses"
    assert {kind: STAGES[kind].kind for kind in STAGES} == {kind: kind for kind in STAGES}


@each
def test_settings_are_valid_and_stay_so_in_a_quick_run(kind: str):
    stage = made(kind)
    stage.check(PLACE, [])
    quick = stage.quick()
    assert type(quick) is type(stage)
    quick.check(PLACE, [])
    quick.quick().check(PLACE, [])
    if isinstance(stage, TrainingStage):
        assert 1 <= quick.epochs <= stage.epochs  # type: ignore[attr-defined]
        assert replace(stage, epochs=50).quick().epochs == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize(("kind", "changed"), [(kind, changed) for kind in STAGES for changed in wrong(kind)])
def test_nonsense_is_refused_with_its_place(kind: str, changed: dict[str, Any]):
    with pytest.raises(DemitasseError) as caught:
        made(kind, **changed).check(PLACE, [])
    assert str(caught.value).startswith(f"{PLACE}: ")
    assert caught.value.exit_code == 2


@each
def test_the_order_of_stages_is_checked(kind: str):
    for other in STAGES:
        if other in NOT_BEHIND.get(kind, ()):
            with pytest.raises(DemitasseError, match=other):
                made(kind).check(PLACE, [made(other)])
        elif not (kind == "train" and STAGES[other].compresses):
            made(kind).check(PLACE, [made(other)])


@each
def test_a_stage_gives_the_same_bits_again_and_after_a_stop(kind: str, tmp_path: Path):
    before = chain()
    unbroken = copy.deepcopy(before)
    outcome = made(kind).run(work(tmp_path / "unbroken", unbroken))
    assert isinstance(made(kind), TrainingStage) == bool(outcome.history)
    batches = sum(1 for _ in outcome.history) * 3
    for stop in [0, 1, 2, 3, batches - 1] if batches else [0]:
        folder, seen = tmp_path / str(stop), 0

        def count(run: TrainingRun, total: int, stop: int = stop) -> None:
            nonlocal seen
            seen += 1
            assert total == batches
            if seen == stop:
                raise Killed

        if stop:
            with pytest.raises(Killed):
                made(kind).run(work(folder, copy.deepcopy(before), on_step=count))
        torch.manual_seed(stop + 7)
        model = copy.deepcopy(before)
        again = made(kind).run(work(folder, model))
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), unbroken.parameters(), strict=True)), stop
        assert [{**one, "seconds": 0} for one in again.history] == [{**one, "seconds": 0} for one in outcome.history]
        assert again.report == outcome.report


@each
def test_a_stage_says_what_it_did_in_plain_data(kind: str, tmp_path: Path):
    outcome = made(kind).run(work(tmp_path / "work", chain()))
    for plain in (outcome.history, outcome.report):
        text = json.dumps(plain, allow_nan=False)
        assert json.dumps(json.loads(text)) == text
    assert outcome.file is None or (outcome.file.is_file() and outcome.file.parent == tmp_path / "work")
