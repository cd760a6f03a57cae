"""Saving and loading of modules and state_dicts, as tensors alone: no file that is opened here can run code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from demitasse.errors import FileFormatError, UsageError, WeightsError
from demitasse.files import atomic_write
from demitasse.methods.records import record_of
from demitasse.methods.selection import named_parameters, plain_name, unwrap
from demitasse.registry import suggest

_FORMS = (".safetensors", ".pt")


def save(model: nn.Module | Mapping[str, Tensor], path: str | Path) -> int:
    """Writes a module's state, or any mapping of tensors, to ``.safetensors`` or ``.pt`` (``torch.save``).

    Of a module under a method the effective values are written: zeros and powers of two. Tied tensors are written
    once in ``.pt`` and under every name in ``.safetensors``. The file is whole or not there.

    Args:
        model: a module, wrapped or not, or its state_dict, or that of a method.
        path: the file; its suffix tells the form.

    Returns:
        The size in bytes.

    Raises:
        UsageError: the suffix is another one, or a value is no tensor.
        MethodError: an optimizer that a method does not know has stepped a compressed parameter.
    """
    target = Path(path)
    form = _form(target)
    state = _state(model)
    with atomic_write(target) as temporary:
        if form == ".pt":
            torch.save(state, temporary)
        else:
            from safetensors.torch import save_file

            # safetensors refuses tensors that share memory or lie in another order
            save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, temporary)
    return target.stat().st_size


def load(path: str | Path, into: nn.Module | None = None) -> dict[str, Tensor] | nn.Module:
    """Reads what :func:`save` wrote.

    Args:
        path: the file.
        into: a module that takes the tensors; wrapped or not.

    Returns:
        The module, or without one the tensors by name, on the CPU.

    Raises:
        FileFormatError: the file is missing, cut short, of another form, or holds more than tensors.
        WeightsError: the tensors do not belong to the module; the message names the first one.
    """
    source = Path(path)
    state = _read(source, _form(source))
    if into is None:
        return state
    model = unwrap(into)
    own = {plain_name(name): tensor for name, tensor in model.state_dict(keep_vars=True).items()}
    for name in sorted(own.keys() | state.keys()):
        if name not in state:
            raise WeightsError(f"{source}: no tensor {name!r}; {suggest(name, state)}")
        if name not in own:
            raise WeightsError(f"{source}: the module has no {name!r}; {suggest(name, own)}")
        if state[name].shape != own[name].shape:
            raise WeightsError(
                f"{source}: {name} has shape {tuple(state[name].shape)}; expected {tuple(own[name].shape)}"
            )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])
    return into


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _form(path: Path) -> str:
    if path.suffix not in _FORMS:
        raise UsageError(f"{path}: files ending in {path.suffix or 'nothing'!r} are not known; expected {_known()}")
    return path.suffix


def _known() -> str:
    return " or ".join(_FORMS)


def _state(model: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    if isinstance(model, nn.Module):
        for parameter in named_parameters(model).values():
            record = record_of(parameter)
            for method in record.methods if record else ():
                method.check()
        given: Mapping[str, Tensor] = unwrap(model).state_dict()
    else:
        given = model
    for name, value in given.items():
        if not isinstance(value, Tensor):
            raise UsageError(f"{name} is a {type(value).__name__}; expected tensors alone")
    return {plain_name(name): value.detach() for name, value in given.items()}


def _read(path: Path, form: str) -> dict[str, Tensor]:
    try:
        if form == ".pt":
            found = torch.load(path, map_location="cpu", weights_only=True)
        else:
            from safetensors.torch import load_file

            found = load_file(path)
    except FileNotFoundError:
        raise FileFormatError(f"{path}: there is no such file") from None
    except Exception as error:
        # readers raise what they like at a broken file; what it was is in the message
        raise FileFormatError(f"{path}: cannot be read as {form}: {_first_line(error)}") from None
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise FileFormatError(f"{path}: holds more than tensors by name")
    return found
