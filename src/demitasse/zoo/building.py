"""Builds a model and its data from the names in a recipe."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import torch
from torch import nn

from demitasse.errors import DeviceError, UsageError, WeightsError
from demitasse.formats.torch_save import TorchSave
from demitasse.zoo.tables import check_keys, convert


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
    parameters = inspect.signature(builder).parameters
    hints = get_type_hints(builder.__init__ if inspect.isclass(builder) else builder)
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        check_keys(settings, [name for name in parameters if name not in own], place)
    for name, parameter in parameters.items():
        is_needed = parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        if is_needed and name not in settings and name not in own:
            raise UsageError(f"{place}: {name} is missing")
    return {
        name: convert(value, hints[name], f"{place}: {name}") if name in hints else value
        for name, value in settings.items()
    }


def import_factory(path: str, place: str) -> Callable[..., nn.Module]:
    """Imports a module, which runs its code, and returns the function ``package.module:function``.

    Raises:
        UsageError: the module cannot be imported, or has no such function.
    """
    module_name, _, name = path.partition(":")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise UsageError(f"{place}: import {path!r}: {error}") from error
    factory = getattr(module, name, None)
    if not callable(factory):
        raise UsageError(f"{place}: import {path!r}: {module_name} has no function {name!r}")
    found: Callable[..., nn.Module] = factory
    return found


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
