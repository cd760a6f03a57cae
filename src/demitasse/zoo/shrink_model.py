"""Compresses a PyTorch model in a file without training, as ``demitasse shrink`` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from demitasse.errors import UsageError, parameter
from demitasse.files import check_writable
from demitasse.formats import load, save
from demitasse.formats.base import format_of
from demitasse.preparation import Parts, Preparation
from demitasse.preparation.image_files import drawn_files
from demitasse.registry import suggest
from demitasse.shrinking import ShrinkReport, shrink
from demitasse.shrinking.options import ShrinkOptions
from demitasse.zoo.building import build_data, build_model, check_settings, import_function
from demitasse.zoo.data import DATASETS
from demitasse.zoo.models import MODELS
from demitasse.zoo.recipe import RecipePart

_BATCH = 64  # images
_FORMATS = ("demi", "safetensors", "pt")


class ModelInputs(NamedTuple):
    """Inputs of a model, and what is known of them.

    Attributes:
        batches: (n, ...) each.
        preparation: how images become inputs; None if nothing says so.
        classes: the names of the classes; empty if there are none.
    """

    batches: Sequence[Tensor]
    preparation: Preparation | None
    classes: Sequence[str]


def shrink_model(
    model: str,
    weights: str | Path,
    out: str | Path,
    *,
    settings: Mapping[str, object] | None = None,
    data: str = "",
    data_settings: Mapping[str, object] | None = None,
    images: str | Path | None = None,
    preparation: Parts | None = None,
    classes: Sequence[str] | None = None,
    examples: int = 1024,
    seed: int = 0,
    allow_imports: bool = False,
    say: Callable[[str], None] = lambda line: None,
    **options: Unpack[ShrinkOptions],
) -> ShrinkReport:
    """Compresses a model by :func:`demitasse.shrink` and writes it; nothing is written if anything fails.

    Args:
        model: the name of a built-in model, or ``package.module:function``, which returns one.
        weights: its weights, in any format that :func:`demitasse.load` reads.
        out: the file to write, ``.demi``, ``.safetensors`` or ``.pt``. A ``.demi`` file has the graph, too, if the
            model can be exported.
        settings: keyword arguments of the model.
        data: the training data, whose labels are not used: ``name`` or ``name=path`` of a built-in data set, an
            ``.npz`` file, a folder with a folder for each class, or ``package.module:function``.
        data_settings: keyword arguments of the data.
        images: instead of ``data``: a folder of images, or a list of their names; some are drawn at random.
        preparation: how images become inputs.
        classes: the names of the classes, instead of those of the data.
        examples: the most examples to use.
        seed: of the draw of the images, the order of the data, and ``shrink``.
        allow_imports: whether model and data may be imported, which runs code of these modules.
        say: called with notes about the data, and with the reason if the graph cannot be stored.
        options: see :func:`demitasse.shrink`.

    Raises:
        DemitasseError: a name or a setting is wrong, a file cannot be read or does not fit the model, or as
            :func:`demitasse.shrink`.
    """
    form = format_of(out).name
    if form not in _FORMATS:
        raise UsageError(f"{out}: expected a name that ends in .demi, .safetensors or .pt")
    check_writable(out)
    built = _built(model, settings or {}, allow_imports)
    load(weights, into=built)
    inputs = _inputs(data, data_settings or {}, images, preparation or Parts(), examples, seed, allow_imports, say)
    report = shrink(built.eval(), inputs.batches, examples=examples, seed=seed, **options)
    _save(built, out, form, inputs._replace(classes=classes or inputs.classes), say)
    return report


def _built(model: str, settings: Mapping[str, object], allow_imports: bool) -> nn.Module:
    if ":" in model:
        builder = import_function(model, "model", allow_imports)
    elif model in MODELS:
        builder = MODELS[model]
    else:
        raise UsageError(
            f"there is no model {model!r}; {suggest(model, list(MODELS))}; or give a prototxt, or "
            "package.module:function"
        )
    return build_model(builder, check_settings(builder, settings, f"model {model}", own=("self",)), f"model {model}")


def _inputs(
    data: str,
    settings: Mapping[str, object],
    images: str | Path | None,
    given: Parts,
    examples: int,
    seed: int,
    allow_imports: bool,
    say: Callable[[str], None],
) -> ModelInputs:
    if bool(data) == (images is not None):
        raise UsageError(
            f"expected {parameter('data')} or {parameter('images')}, which inputs of the model are made of"
        )
    if images is not None:
        return _of_images(Path(images), given, examples, seed)
    place = parameter("data")
    # as TOML has them
    texts = {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}
    choice = _choice(data, {**texts, **settings})
    if choice.imported:
        imported = import_function(choice.imported, place, allow_imports)
    else:
        imported, own = None, ("self", "path", "seed")
        choice = replace(choice, settings=check_settings(DATASETS[choice.name], choice.settings, place, own=own))
    found = build_data(imported, choice, seed, place)
    for note in found.notes:
        say(note)
    batches: list[Tensor] = []
    for inputs, _ in found.train_batches(0):
        batches.append(inputs)
        if sum(map(len, batches)) >= examples:
            break
    return ModelInputs(batches, found.preparation, found.classes)


def _of_images(images: Path, given: Parts, examples: int, seed: int) -> ModelInputs:
    for name in ("channels", "size"):
        if name not in given:
            raise UsageError(f"nothing says the {name} of the images; give {parameter(name)}")
    preparation = Preparation(**given)
    files = drawn_files(images, examples, seed)
    parts = [files[start : start + _BATCH] for start in range(0, len(files), _BATCH)]
    return ModelInputs([torch.from_numpy(np.stack([*map(preparation, part)])) for part in parts], preparation, ())


def _choice(data: str, settings: Mapping[str, object]) -> RecipePart:
    """Returns the data set that a text names: an import path, a file, a folder, or a built-in one with its path."""
    name, _, path = data.partition("=")
    if name in DATASETS:
        return RecipePart(name, Path(path) if path else None, settings=settings)
    if ":" in data and not Path(data).exists():
        return RecipePart(imported=data, settings=settings)
    if Path(data).exists() or Path(data).suffix:
        return RecipePart("npz" if Path(data).suffix == ".npz" else "images", Path(data), settings=settings)
    raise UsageError(f"there is no data set, file or folder {data!r}; {suggest(name, list(DATASETS))}")


def _save(model: nn.Module, out: str | Path, form: str, inputs: ModelInputs, say: Callable[[str], None]) -> None:
    if form == "pt":
        save(model, out)
        return
    preparation, classes = inputs.preparation, inputs.classes or None
    if form == "demi":
        try:
            save(model, out, preparation=preparation, classes=classes, example=inputs.batches[0][:1])
        except UsageError as error:
            say(f"stored no graph, so that the file needs the code of the model: {error}")
        else:
            return
    save(model, out, preparation=preparation, classes=classes)
