"""Data that a recipe imports: what a function may return, and what is said of all else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import demitasse
from demitasse.errors import DataError, DemitasseError, UsageError
from demitasse.zoo.data import Batch, OwnData, TrainingData
from demitasse.zoo.recipe import parse
from demitasse.zoo.runner import Runner
from tests.zoo import imports
from tests.zoo.recipes import Killed, kill_after, same_weights

KINDS = ["tensors", "arrays", "datasets", "list_likes", "loaders", "seeded_loaders", "dictionary"]
RECIPE = """
checkpoint = 1
model = {{ import = "tests.zoo.imports:model" }}
stages = [{{ kind = "train", epochs = 2, lr = 0.1 }}, {{ kind = "surgery", epochs = 1, lr = 0.1, sparsity = 0.5 }}]
[data]
import = "tests.zoo.imports:{function}"
{settings}
"""


def runner(folder: Path, function: str, settings: str = "batch = 10", **changed: Any) -> Runner:
    recipe = parse(RECIPE.format(function=function, settings=settings), "r", "r.toml", folder)
    return Runner(recipe, folder / "out", allow_imports=True, **changed)


def data(folder: Path, function: str, settings: str = "batch = 10") -> TrainingData:
    return runner(folder, function, settings).data


def same(left: list[Batch], right: list[Batch]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a, b) for pair in zip(left, right, strict=True) for a, b in zip(*pair, strict=True)
    )


@pytest.mark.parametrize("function", KINDS)
def test_an_epoch_depends_on_seed_and_number_alone(function: str, tmp_path: Path) -> None:
    """Also what a Dataset draws from torch, whatever else drew from it; and nothing else sees that it was drawn."""
    found = data(tmp_path, function)
    third = list(found.train_batches(3))
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    again = list(data(tmp_path, function).train_batches(3))
    assert torch.equal(torch.rand(2), expected)
    assert same(third, again)
    assert not same(third, list(found.train_batches(2)))
    assert found.steps == len(third) == 6
    for start in range(7):
        assert same(list(found.train_batches(3, start)), third[start:])
    inputs, labels = third[0]
    assert (inputs.dtype, labels.dtype, inputs.shape, labels.shape) == (torch.float32, torch.int64, (10, 8), (10,))


@pytest.mark.parametrize("function", KINDS)
def test_test_batches_are_always_the_same_and_all(function: str, tmp_path: Path) -> None:
    found = data(tmp_path, function, "batch = 10\ntest_batch = 8")
    first = list(found.test_batches())
    assert same(first, list(found.test_batches()))
    count = 60 if function == "list_likes" else 20
    assert torch.equal(torch.cat([inputs for inputs, _ in first]), imports.INPUTS[:count])
    assert torch.equal(torch.cat([labels for _, labels in first]), imports.LABELS[:count])
    assert len(first[0][0]) == 8


@pytest.mark.parametrize("function", [*KINDS, "one_pair", "one_dataset", "training_data"])
def test_a_recipe_trains_on_it_and_resumes(function: str, tmp_path: Path) -> None:
    for folder, stops in (("whole", (None,)), ("stopped", (5, 9, None))):
        for stop in stops:
            try:
                here = runner(tmp_path / folder, function, watch=kill_after(stop) if stop else None)
                results = here.run()
            except Killed:
                continue
    assert results[-1].tests["loss"] > 0
    last = "out/2-surgery/model.pt"
    assert same_weights(tmp_path / "whole" / last, tmp_path / "stopped" / last)


@pytest.mark.parametrize("function", ["one_pair", "one_dataset"])
def test_what_has_no_split_is_split_and_said(function: str, tmp_path: Path) -> None:
    found = data(tmp_path, function, "batch = 8\ntest_share = 0.5")
    assert list(found.notes) == [
        f"r.toml: [data]: tests.zoo.imports:{function}: there are no test examples; 0.5 of each class, drawn at random "
        "(seed 0), are for testing: 30 to train with, 30 to test with"
    ]
    tested = torch.cat([inputs for inputs, _ in found.test_batches()])
    trained = torch.cat([inputs for inputs, _ in found.train_batches(0)])
    assert len(tested) == 30
    assert not {row.numpy().tobytes() for row in tested} & {row.numpy().tobytes() for row in trained}


def test_classes_and_preparation_are_kept(tmp_path: Path) -> None:
    found = data(tmp_path, "dictionary")
    assert list(found.classes) == ["a", "b", "c"]
    assert found.preparation == demitasse.Preparation("grey", (2, 4))


def test_the_function_gets_its_settings(tmp_path: Path) -> None:
    text = RECIPE.format(
        function="settings", settings='count = 20\npath = "files"\nbatch = 10\nscale = 2\ntest_batch = 20'
    )
    found = Runner(parse(f"seed = 5\n{text}", "r", "r.toml"), tmp_path, allow_imports=True).data
    assert isinstance(found, OwnData)
    assert len(next(found.test_batches())[0]) == 20
    assert data(tmp_path, "strange_annotations", 'level = "x"\nother = 5').steps == 1


def test_it_must_be_allowed_and_runs_nothing_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_data.py").write_text("raise SystemExit('run')")
    monkeypatch.syspath_prepend(tmp_path)
    text = 'model = { name = "lenet300" }\ndata = { import = "evil_data:f" }\nstages = [{ kind = "pack" }]'
    with pytest.raises(UsageError, match=r"r\.toml: \[data\]: import = 'evil_data:f' runs code .* allow_imports=True"):
        Runner(parse(text, "r", "r.toml"), tmp_path)
    assert "evil_data" not in sys.modules


WRONG = [
    ("nowhere", "", r"import 'tests\.zoo\.imports:nowhere': tests\.zoo\.imports has no function 'nowhere'"),
    ("raises", "", r"raised RuntimeError: no such server \(.*imports\.py:\d+\)"),
    ("raises_typed", "", "photos: the folder is gone"),
    ("nothing", "", "found a NoneType; expected .train, test."),
    ("three", "", "found 3 values; expected"),
    ("strings", "", "train: found a str; expected"),
    ("lengths", "", r"train: found inputs of shape \(60, 8\) and labels of shape \(9,\); expected the same number"),
    ("no_integers", "", "train: labels are float32; expected integers"),
    ("negative", "", "train: label -1 of example 0 is out of range"),
    ("nan", "", r"train: input \d+ has a value that is NaN or infinite"),
    ("objects", "", "train: inputs are an array of object; expected numbers"),
    ("pixels", "", "train: inputs are uint8; expected floating-point numbers, as the model takes them"),
    ("lists", "", "train: inputs are a list; expected a tensor or an array"),
    ("one_loader", "", "found a DataLoader alone, which cannot be split; expected"),
    ("unknown_key", "", "found a dictionary with valid; expected"),
    ("no_train", "", "found a dictionary without train; expected"),
    ("classes_text", "", "classes is a str; expected a list of names"),
    ("preparation_text", "", r"preparation is a str; expected a demitasse\.Preparation"),
    ("empty", "", "train: found no examples"),
    ("empty_dataset", "", "train: the Noisy is empty"),
    ("endless", "", "train: the Endless has no length"),
    ("endless_loader", "", "train: the DataLoader has no length"),
    ("tensors", "batch = 0", "batch is 0; expected 1 or more"),
    ("tensors", "batch = 1.5", "batch is 1.5; expected a whole number"),
    ("tensors", "count = 5", "unknown key 'count'"),
    ("tensors", 'path = "x"', r"path is .*x; tests\.zoo\.imports:tensors has no parameter path"),
    ("settings", "", "count is missing"),
    ("settings", "count = 2.5", r"count is 2\.5; expected a whole number"),
    ("one_pair", "test_share = 2.0", "test_share is 2; expected a share"),
]


@pytest.mark.parametrize(("function", "settings", "message"), WRONG, ids=[f"{f} {s}" for f, s, _ in WRONG])
def test_what_is_wrong_is_named(function: str, settings: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DemitasseError, match=rf"r\.toml: \[data\].*{message}"):
        data(tmp_path, function, settings)


@pytest.mark.parametrize("loader", [False, True])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("raises", "raised OSError: the disk is gone"),
        ("typed", "1.png: no image"),
        ("dictionary", "is a dictionary of x, y; expected a pair"),
        ("alone", "expected"),
        ("float", "labels are float64; expected integers"),
    ],
)
def test_what_a_dataset_does_wrong_is_named(kind: str, message: str, loader: bool, tmp_path: Path) -> None:
    found = data(tmp_path, "broken", f'kind = "{kind}"\nloader = {str(loader).lower()}\nbatch = 10')
    with pytest.raises(DataError, match=rf"r\.toml: \[data\]: tests\.zoo\.imports:broken: train: .*{message}"):
        next(found.train_batches(0))


def test_labels_beyond_the_outputs_of_the_model(tmp_path: Path) -> None:
    """Where they are known, before the training; else at their batch."""
    text = RECIPE.format(function="tensors", settings="batch = 10").replace(':model"', ':model", width = 2')
    with pytest.raises(UsageError, match=r"cannot process batches .*: label 2 is out of range: the model has 2"):
        Runner(parse(text, "r", "r.toml"), tmp_path, allow_imports=True).run()
    with pytest.raises(
        DataError, match="label 9 is out of range: the model has 3 outputs; expected labels from 0 to 2"
    ):
        runner(tmp_path, "broken", 'kind = "label"\nbatch = 10').run()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("no_module", r"the function returned a str; expected a torch\.nn\.Module"),
        ("model_raises", r"raised ValueError: no weights \(.*imports\.py:\d+\)"),
    ],
)
def test_a_model_that_is_none(function: str, message: str, tmp_path: Path) -> None:
    text = RECIPE.format(function="tensors", settings="batch = 10").replace(":model", f":{function}")
    with pytest.raises(UsageError, match=rf"r\.toml: \[model\]: .*{message}"):
        Runner(parse(text, "r", "r.toml"), tmp_path, allow_imports=True).run()


def test_a_module_that_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_data.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    text = RECIPE.format(function="tensors", settings="batch = 10").replace(
        "tests.zoo.imports:tensors", "broken_data:f"
    )
    message = r"\[data\]: import 'broken_data:f': broken_data raised ZeroDivisionError: .* \(.*broken_data\.py:1\)"
    with pytest.raises(UsageError, match=message):
        Runner(parse(text, "r", "r.toml"), tmp_path, allow_imports=True)
    changed = text.replace("broken_data:f", "builtins:getattr")
    with pytest.raises(UsageError, match="expected a function of Python"):
        Runner(parse(changed, "r", "r.toml"), tmp_path, allow_imports=True)
