"""Builds a model and its data from the names and import paths in a recipe."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, get_type_hints

import torch
from torch import nn

from demitasse.errors import DemitasseError, DeviceError, UsageError, WeightsError, parameter
from demitasse.formats.torch_save import TorchSave
from demitasse.zoo.data import DATASETS, TrainingData, own_data
from demitasse.zoo.models import MODELS
from demitasse.zoo.tables import check_keys, convert, is_plain


def check_settings(
    builder: Callable[..., object], settings: Mapping[str, object], place: str, own: tuple[str, ...]
) -> dict[str, object]:
    """Returns settings as keyword arguments of a builder, converted to the types of its annotations.

    Args:
        builder: a class or a function.
        settings: the settings in the recipe.
        place: file and table, for messages.
        own: keywords that do not come from the settings.

    Raises:
        UsageError: the builder does not take a keyword, a value has the wrong type, or a keyword is missing.
    """
    keywords, hints = parameters_of(builder, place), _hints(builder)
    if not any(each.kind is each.VAR_KEYWORD for each in keywords.values()):
        check_keys(settings, [name for name in keywords if name not in own], place)
    for name, each in keywords.items():
        is_needed = each.default is each.empty and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
        if is_needed and name not in settings and name not in own:
            raise UsageError(f"{place}: {name} is missing")
    return {
        name: convert(value, hints[name], f"{place}: {name}") if is_plain(hints.get(name)) else value
        for name, value in settings.items()
    }


def parameters_of(builder: Callable[..., object], place: str) -> Mapping[str, inspect.Parameter]:
    """Returns the parameters of a builder by name.

    Raises:
        UsageError: Python does not know them, as of some functions that are written in C.
    """
    try:
        return inspect.signature(builder).parameters
    except (ValueError, TypeError) as error:
        raise UsageError(f"{place}: {error}; expected a function of Python") from error


def _hints(builder: Callable[..., object]) -> Mapping[str, object]:
    """Returns the types of the parameters of a builder, as far as they are known."""
    try:
        return get_type_hints(builder.__init__ if inspect.isclass(builder) else builder)
    except Exception:  # annotations of a user's code may be of any kind, also of names that are not imported
        return {}


def import_function(path: str, place: str, allowed: bool) -> Callable[..., object]:
    """Imports a module, which runs its code, and returns the function ``package.module:function``.

    Every import path of a user comes through here.

    Args:
        path: the import path.
        place: file and table, for messages.
        allowed: whether the caller of the library lets import paths run.

    Raises:
        UsageError: it is not allowed, the module cannot be imported or raises, or it has no such function.
    """
    if not allowed:
        raise UsageError(
            f"{place}: import = {path!r} runs code of that module; allow it with {parameter('allow_imports', True)}"
        )
    module_name, _, name = path.partition(":")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise UsageError(f"{place}: import {path!r}: {error}") from error
    except Exception as error:  # of the user's code
        raise UsageError(f"{place}: import {path!r}: {module_name} raised {_described(error)}") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise UsageError(f"{place}: import {path!r}: {module_name} has no function {name!r}")
    function: Callable[..., object] = found
    return function


def call_imported(function: Callable[..., object], settings: Mapping[str, object], place: str) -> object:
    """Returns what a function from :func:`import_function` returns.

    Raises:
        UsageError: the function raised.
        DemitasseError: the function raised this error; the place is before its message.
    """
    try:
        return function(**settings)
    except DemitasseError as error:
        raise error.within(place) from error
    except Exception as error:  # of the user's code
        raise UsageError(f"{place}: the imported function raised {_described(error)}") from error


def _described(error: Exception) -> str:
    """Returns type and message of an error, and the line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"


def build_model(builder: Callable[..., object], settings: Mapping[str, object], place: str) -> nn.Module:
    """Returns the model of a builder, a built-in one or an imported function.

    Raises:
        UsageError: a setting of a built-in model is not valid; an imported function raised, or returned something else
            than a module.
    """
    if any(builder is MODELS[name] for name in MODELS):
        return _built_in(builder, settings, place)
    found = call_imported(builder, settings, place)
    if not isinstance(found, nn.Module):
        raise UsageError(f"{place}: the function returned a {type(found).__name__}; expected a torch.nn.Module")
    return found


def _built_in(builder: Callable[..., Any], settings: Mapping[str, object], place: str) -> nn.Module:
    for name, value in settings.items():
        if isinstance(value, int) and not isinstance(value, bool) and not 1 <= value < 1 << 31:
            raise UsageError(f"{place}: {name} is {value}; expected 1 to {(1 << 31) - 1:,}")
    try:
        model: nn.Module = builder(**settings)
    except DemitasseError as error:
        raise error.within(place) from error
    except (ValueError, RuntimeError) as error:  # of PyTorch, as for a dropout of 2 or more weights than fit in memory
        raise UsageError(f"{place}: {str(error).splitlines()[0]}") from error
    return model


def build_data(imported: Callable[..., object] | None, choice: DataChoice, seed: int, place: str) -> TrainingData:
    """Returns the data set of a recipe.

    An imported function is called with the settings, except ``batch``, ``test_batch`` and ``test_share``, which say
    how its examples become batches; these, ``path`` and ``seed`` are passed if it has parameters of these names.

    Args:
        imported: the function of ``import``; None for a built-in data set.
        choice: name, path and settings.
        seed: seed of the order and the augmentation.
        place: file and table, for messages.

    Raises:
        UsageError: a setting is not valid, or the imported function raised.
        DataError: the data are missing or not valid.
    """
    settings = dict(choice.settings)
    if imported is None:
        try:
            return DATASETS[choice.name](choice.path, seed=seed, **settings)
        except DemitasseError as error:
            raise error.within(place) from error
    known = parameters_of(imported, place)
    own = {name: convert(settings[name], kind, f"{place}: {name}") for name, kind in _OWN.items() if name in settings}
    rest = {name: value for name, value in settings.items() if name not in own or name in known}
    if choice.path is not None and "path" not in known:
        raise UsageError(f"{place}: path is {choice.path}; {choice.imported} has no parameter path")
    offered = {"path": choice.path, "seed": seed}
    rest = check_settings(imported, rest, place, own=("self", *offered))
    rest |= {name: value for name, value in offered.items() if name in known}
    found = call_imported(imported, rest, place)
    try:
        return own_data(found, f"{place}: {choice.imported}", seed=seed, **own)
    except UsageError as error:
        raise error.within(place) from error


_OWN = {"batch": int, "test_batch": int, "test_share": float}


class DataChoice(Protocol):
    """What a recipe says of its data."""

    @property
    def name(self) -> str:
        """Name of a built-in data set."""

    @property
    def path(self) -> Path | None:
        """File or folder of the data."""

    @property
    def imported(self) -> str:
        """The import path, instead of a name."""

    @property
    def settings(self) -> Mapping[str, object]:
        """All other settings."""


def choose_device(name: str, place: str) -> torch.device:
    """Returns the device of this name; ``auto`` is a GPU if there is one, else the CPU.

    Raises:
        DeviceError: the name is ``cuda``, but there is no GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"{place}: device is 'cuda', but this machine has no GPU that PyTorch can use")
    return torch.device(name)


def load_weights(model: nn.Module, path: Path) -> None:
    """Loads the weights of a model from a file of ``torch.save``: a state_dict, alone or in a checkpoint.

    The file may lack ``num_batches_tracked``, the counters of batch normalization.

    Raises:
        FileFormatError: the file cannot be read, or has no state_dict.
        WeightsError: names or shapes are not those of the model.
    """
    state = TorchSave().load(path, "cpu")
    own = model.state_dict()
    counters = {name: value for name, value in own.items() if name.endswith("num_batches_tracked")}
    state = {**counters, **state}
    wrong = sorted(set(state) ^ set(own)) or sorted(n for n in own if own[n].shape != state[n].shape)
    if wrong:
        found, expected = (tuple(s[wrong[0]].shape) if wrong[0] in s else "nothing" for s in (state, own))
        raise WeightsError(f"{path}: {wrong[0]} is {found}; expected {expected} ({len(wrong)} tensors do not fit)")
    model.load_state_dict(state)
