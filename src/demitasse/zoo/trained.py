"""Loads the trained model of a recipe with its data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from torch import nn

from demitasse.errors import DataError, parameter
from demitasse.zoo.building import load_weights
from demitasse.zoo.data import TrainingData
from demitasse.zoo.recipe import Recipe, find_recipe
from demitasse.zoo.runner import MODEL, Runner, stage_folder
from demitasse.zoo.training import FLOAT32, Precision, evaluate

_PLAIN = ("train", "recalibrate")


@dataclass(frozen=True)
class Trained:
    """A trained model, its data, and the folder of the recipe's results."""

    model: nn.Module
    data: TrainingData
    folder: Path

    def metric(self, model: nn.Module, batches: int = 0, precision: Precision = FLOAT32) -> float:
        """Returns the error or the loss of a model on the first ``batches`` test batches; 0 for all."""
        data = self.data
        if batches:
            data = _First(data, batches)  # type: ignore[assignment]
        return evaluate(model, data, precision)[self.data.metric]


class _First:
    """Data with only its first test batches."""

    def __init__(self, data: TrainingData, batches: int) -> None:
        self.measure = data.measure
        self.test_batches = lambda: islice(data.test_batches(), batches)


def load_trained(
    recipe: str | Path,
    out: str | Path = "compressed",
    weights: str | Path | None = None,
    data: str | Path | None = None,
    allow_imports: bool = False,
) -> Trained:
    """Returns the model of a recipe with trained weights.

    Args:
        recipe: a file or the name of a bundled recipe.
        out: the folder that ``compress`` wrote to.
        weights: a file with a state_dict. By default, the model that ``compress`` wrote before the first stage that
            prunes or quantizes it, or what the recipe started from if its first stage does.
        data: file or folder of the data, instead of the recipe's.
        allow_imports: whether the recipe may import its model and its data, which runs code of these modules.

    Raises:
        UsageError: there is no such recipe, it is invalid, or it imports what is not allowed.
        DataError: data or weights are missing.
    """
    found = find_recipe(recipe)
    beside = Path(recipe).parent if Path(recipe).suffix == ".toml" else None
    if data is not None:
        found = replace(found, data=replace(found.data, path=Path(data)))
    folder = Path(out) / found.name
    runner = Runner(found, folder, None, allow_imports)
    source = Path(weights) if weights else _dense(found, Path(out), beside)
    if not source.exists():
        hint = "" if weights else f"; run `demitasse compress {recipe}` first, or give {parameter('weights')}"
        raise DataError(f"{source}: there are no trained weights{hint}")
    model = runner.build()
    load_weights(model, source)
    return Trained(model, runner.data, folder)


def _dense(recipe: Recipe, out: Path, beside: Path | None) -> Path:
    """Returns the file with the weights of the last stage before the first one that compresses."""
    plain = next((i for i, stage in enumerate(recipe.stages) if stage.kind not in _PLAIN), len(recipe.stages))
    if plain:
        return stage_folder(recipe, out / recipe.name, plain - 1) / MODEL
    if recipe.weights:
        return recipe.weights
    if recipe.start:
        return _dense(find_recipe(recipe.start, beside), out, beside)
    raise DataError(
        f"{recipe.source}: no stage trains the model before the first one that compresses it; give "
        f"{parameter('weights')}"
    )
