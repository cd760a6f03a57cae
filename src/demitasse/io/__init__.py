"""Saving and loading of modules and state_dicts, as tensors alone: no file that is opened here can run code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from demitasse.errors import UsageError, WeightsError
from demitasse.files import atomic_write
from demitasse.io.forms import form_of
from demitasse.io.packed import PackedFile, to_packed, to_torch
from demitasse.methods.homes import plain_name
from demitasse.methods.method import check_methods
from demitasse.methods.selection import unwrap
from demitasse.registry import suggest

__all__ = ["PackedFile", "load", "open", "save", "to_packed", "to_torch"]

open = PackedFile


def save(
    model: nn.Module | Mapping[str, Tensor],
    path: str | Path,
    *,
    metadata: Mapping[str, str] | None = None,
    signed_zeros: bool | None = None,
    smallest: bool | None = None,
) -> int:
    """Writes a module's state, or any mapping of tensors, to ``.demi``, ``.safetensors`` or ``.pt``.

    Of a module under a method the effective values are written: zeros and powers of two. Every value comes back as it
    was, but for the sign of zeros in ``.demi``. Tied tensors are written once in ``.demi`` and ``.pt`` and under every
    name in ``.safetensors``. The file is whole or not there.

    Args:
        model: a module, wrapped or not, or its state_dict, or that of a method.
        path: the file; its suffix tells the form.
        metadata: text by key, of ``.demi`` and ``.safetensors``.
        signed_zeros: of ``.demi``: whether -0.0 stays what it is; by default it becomes 0.0.
        smallest: of ``.demi``: True for the fewest bytes, False for speed; by default the fewest bytes up to 1.5
            million values.

    Returns:
        The size in bytes.

    Raises:
        UsageError: the suffix is another one, the form does not know an option, or a value is no tensor.
        MethodError: an optimizer that a method does not know has stepped a compressed parameter.
    """
    target = Path(path)
    form = form_of(target)
    given = {"metadata": metadata, "signed_zeros": signed_zeros, "smallest": smallest}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if unknown := options.keys() - form.options:
        raise UsageError(f"{target}: {target.suffix} files have no {min(unknown)}; expected a .demi file")
    state = _state(model)
    with atomic_write(target) as temporary:
        form.write(state, temporary, **options)
    return target.stat().st_size


def load(
    path: str | Path, into: nn.Module | None = None, device: str | torch.device = "cpu"
) -> dict[str, Tensor] | nn.Module:
    """Reads what :func:`save` wrote.

    Args:
        path: the file.
        into: a module that takes the tensors; wrapped or not. Those on the meta device are replaced, others are
            filled where they are.
        device: where the tensors go, without a module.

    Returns:
        The module, or without one the tensors by name.

    Raises:
        FileFormatError: the file is missing, cut short, corrupt, of another form, or holds more than tensors.
        WeightsError: the tensors do not belong to the module; the message names the first one.
    """
    source = Path(path)
    state = form_of(source).read(source, device)
    if into is None:
        return state
    model = unwrap(into)
    given = model.state_dict(keep_vars=True)
    own = {plain_name(name): tensor for name, tensor in given.items()}
    for name in sorted(own.keys() | state.keys()):
        if name not in state:
            raise WeightsError(f"{source}: no tensor {name!r}; {suggest(name, state)}")
        if name not in own:
            raise WeightsError(f"{source}: the module has no {name!r}; {suggest(name, own)}")
        if state[name].shape != own[name].shape:
            raise WeightsError(
                f"{source}: {name} has shape {tuple(state[name].shape)}; expected {tuple(own[name].shape)}"
            )
    if any(tensor.is_meta for tensor in own.values()):
        model.load_state_dict({name: state[plain_name(name)] for name in given}, assign=True)
        return into
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])
    return into


def _state(model: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    if isinstance(model, nn.Module):
        check_methods(model)
        given: Mapping[str, Tensor] = unwrap(model).state_dict()
    else:
        given = model
    for name, value in given.items():
        if not isinstance(name, str):
            raise UsageError(f"{name!r} is of type {type(name).__name__}; expected names of tensors")
        if not isinstance(value, Tensor):
            raise UsageError(f"{name} is a {type(value).__name__}; expected tensors alone")
    return {plain_name(name): value.detach() for name, value in given.items()}
