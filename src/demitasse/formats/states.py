"""Saving and loading of modules and state_dicts, as tensors alone: no file that is opened here can run code."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, overload

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from demitasse.errors import UsageError, WeightsError
from demitasse.files import atomic_write
from demitasse.formats.base import Format, Settings, format_named, format_of, format_within
from demitasse.formats.packed_file import PackedFile
from demitasse.formats.sources import check_writable, content_of, is_text, name_of, place_of, write_all
from demitasse.formats.tensors import checked_device, with_plain_bools
from demitasse.methods.homes import plain_name
from demitasse.methods.method import check_methods
from demitasse.methods.selection import unwrap
from demitasse.registry import suggest

open = PackedFile
M = TypeVar("M", bound=nn.Module)


def save(
    model: nn.Module | Mapping[str, Tensor],
    path: str | Path | BinaryIO,
    *,
    metadata: Mapping[str, str] | None = None,
    signed_zeros: bool | None = None,
    smallest: bool | None = None,
    format: str | None = None,
) -> int:
    """Writes a module's state, or any mapping of tensors, to ``.demi``, ``.safetensors`` or ``.pt``.

    Of a module under a method the effective values are written: zeros and powers of two. Every value comes back as it
    was, but for the sign of zeros in ``.demi``. Tied tensors are written once in ``.demi`` and ``.pt`` and under every
    name in ``.safetensors``. The file is whole or not there.

    Args:
        model: a module, wrapped or not, or its state_dict, or that of a method.
        path: the file, or one that is open for writing in binary mode, such as ``io.BytesIO()``.
        metadata: text by key, of ``.demi`` and ``.safetensors``.
        signed_zeros: of ``.demi``: whether -0.0 stays what it is; by default it becomes 0.0.
        smallest: of ``.demi``: True for the fewest bytes, False for speed; by default the fewest bytes up to 1.5
            million values.
        format: ``demi``, ``safetensors`` or ``pt``; by default the suffix tells it.

    Returns:
        The size in bytes.

    Raises:
        UsageError: no format is given, or it does not know an option or cannot hold a tensor, or a value is no tensor.
        MethodError: an optimizer that a method does not know has stepped a compressed parameter.
        WriteError: the file cannot be written; one that was there is untouched.
    """
    if not isinstance(path, (str, PathLike)) and not hasattr(path, "write"):
        raise UsageError(f"found a {type(path).__name__}; expected a path, or a file that is open for writing")
    name = str(path) if isinstance(path, (str, PathLike)) else name_of(path)
    form = format_named(format) if format is not None else format_of(name)
    given = {"metadata": metadata, "signed_zeros": signed_zeros, "smallest": smallest}
    if unknown := {option for option, value in given.items() if value is not None} - form.options:
        raise UsageError(f"{name}: {form.title} files have no {min(unknown)}; expected a .demi file")
    for option in ("signed_zeros", "smallest"):
        if not isinstance(given[option], bool | None):
            raise UsageError(f"{option} is {given[option]!r}; expected True or False")
    _check_metadata(metadata)
    settings = Settings(signed_zeros=bool(signed_zeros), smallest=smallest)
    if not isinstance(path, (str, PathLike)):
        check_writable(path)
    state = _state(model)
    if isinstance(path, (str, PathLike)):
        with atomic_write(path) as file:
            form.save(state, file, metadata or {}, settings)
            return file.tell()
    content = BytesIO()
    form.save(state, content, metadata or {}, settings)
    write_all(content.getvalue(), path)
    return content.tell()


@overload
def load(
    path: str | Path | bytes | BinaryIO,
    into: None = None,
    device: str | torch.device = "cpu",
    *,
    format: str | None = None,
    key: str | None = None,
) -> dict[str, Tensor]: ...
@overload
def load(
    path: str | Path | bytes | BinaryIO,
    into: M,
    device: str | torch.device = "cpu",
    *,
    format: str | None = None,
    key: str | None = None,
) -> M: ...
def load(
    path: str | Path | bytes | BinaryIO,
    into: nn.Module | None = None,
    device: str | torch.device = "cpu",
    *,
    format: str | None = None,
    key: str | None = None,
) -> dict[str, Tensor] | nn.Module:
    """Reads what :func:`save` wrote, and checkpoints of ``torch.save``.

    A state_dict that stands under a key of a checkpoint, or whose names all begin with the prefix ``module.`` of
    DataParallel, is taken out of there, which a line of the log says.

    Args:
        path: the file, its bytes, or one that is open for reading in binary mode.
        into: a module that takes the tensors; wrapped or not. Those on the meta device are replaced, others are
            filled where they are.
        device: where the tensors go, without a module.
        format: ``demi``, ``safetensors`` or ``pt``; by default the suffix of the path, or the bytes, tell it.
        key: of the state_dict in a checkpoint that has several.

    Returns:
        The module, or without one the tensors by name.

    Raises:
        FileFormatError: the file is missing, cut short, corrupt, of another form, or holds more than tensors.
        WeightsError: the tensors do not belong to the module; the message names the first one.
        UsageError: the format is not known, or has no keys, or no state_dict is under the key; the source, the module
            or the device is none, or the module has parameters without a shape.
    """
    if into is not None and not isinstance(into, nn.Module):
        raise UsageError(f"into is a {type(into).__name__}; expected a torch.nn.Module")
    device = checked_device(device)
    source = content_of(path)
    form = format_named(format) if format is not None else _format(source)
    if key is not None and not form.nests:
        raise UsageError(f"{place_of(source)}: {form.title} files have no key {key!r}; expected a .pt file")
    state = form.load(source, device, key)
    if into is None:
        return state
    return _filled(into, state, place_of(source))


def _format(source: Path | bytes) -> Format:
    return format_within(source) if isinstance(source, bytes) else format_of(source)


def _filled(into: nn.Module, state: dict[str, Tensor], source: str) -> nn.Module:
    model = unwrap(into)
    given = model.state_dict(keep_vars=True)
    own = {plain_name(name): tensor for name, tensor in given.items()}
    for name, tensor in own.items():
        if is_lazy(tensor):
            raise UsageError(f"{source}: {name} of the module has no shape yet; run the module once first")
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


def _check_metadata(metadata: Any) -> None:
    if metadata is not None and not isinstance(metadata, Mapping):
        raise UsageError(f"metadata is a {type(metadata).__name__}; expected text by key")
    for key, value in (metadata or {}).items():
        for text in (key, value):
            if not is_text(text):
                raise UsageError(f"metadata {key!r}: {text!r} is not text; expected text by key")


def _state(model: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    if isinstance(model, nn.Module):
        check_methods(model)
        given: Mapping[str, Tensor] = unwrap(model).state_dict()
    elif isinstance(model, Mapping):
        given = model
    else:
        raise UsageError(f"found a {type(model).__name__} to save; expected a module, or tensors by name")
    for name, value in given.items():
        if not isinstance(name, str):
            raise UsageError(f"{name!r} is of type {type(name).__name__}; expected names of tensors")
        if not is_text(name):
            raise UsageError(f"{name!r} is not text; expected tensors by name")
        if not isinstance(value, Tensor):
            raise UsageError(f"{name} is a {type(value).__name__}; expected tensors alone")
        if is_lazy(value):
            raise UsageError(f"{name} has no shape and no values yet; run the module once before it is saved")
    return {plain_name(name): with_plain_bools(value.detach()) for name, value in given.items()}
