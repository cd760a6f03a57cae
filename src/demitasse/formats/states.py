"""Saves and loads modules and state_dicts as plain tensors; opening a file here never runs code from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import BinaryIO, TypeVar, overload

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from demitasse.errors import UsageError, WeightsError
from demitasse.files import atomic_write
from demitasse.formats.base import Format, Settings, format_named, format_of, format_within
from demitasse.formats.packed_file import PackedFile
from demitasse.formats.sources import check_writable, content_of, is_text, name_of, place_of, write_all
from demitasse.formats.tensors import checked_device, with_plain_bools
from demitasse.graph.stored import HIDDEN, KEY
from demitasse.methods.homes import plain_name
from demitasse.methods.method import check_methods
from demitasse.methods.selection import unwrap
from demitasse.preparation import Preparation, metadata_of
from demitasse.registry import suggest

open = PackedFile
M = TypeVar("M", bound=nn.Module)


def save(
    model: nn.Module | Mapping[str, Tensor],
    path: str | Path | BinaryIO,
    *,
    metadata: Mapping[str, str] | None = None,
    preparation: Preparation | None = None,
    classes: Sequence[str] | None = None,
    signed_zeros: bool | None = None,
    smallest: bool | None = None,
    format: str | None = None,
    example: object = None,
) -> int:
    """Writes a module's state, or any mapping of tensors, to ``.demi``, ``.safetensors`` or ``.pt``.

    For a module under a compression method, the effective values are written: zeros and powers of two. Loading
    restores every value exactly, except the sign of zeros in ``.demi``. Tied tensors are written once in ``.demi`` and
    ``.pt``, and once for each name in ``.safetensors``. The file is written completely or not at all.

    Args:
        model: a module, wrapped or not, or its state_dict, or the state_dict of a method.
        path: the path of the file, or a file open for writing in binary mode, such as ``io.BytesIO()``.
        metadata: text by key, for ``.demi`` and ``.safetensors``.
        preparation: how images become inputs of the model, for ``.demi`` and ``.safetensors``; ``demitasse run`` then
            takes images.
        classes: the names of the model's classes, in order, for ``.demi`` and ``.safetensors``.
        signed_zeros: for ``.demi``: whether to keep -0.0; by default it becomes 0.0.
        smallest: for ``.demi``: True for the fewest bytes, False for speed; by default the fewest bytes up to 1.5
            million values.
        format: ``demi``, ``safetensors`` or ``pt``; by default the suffix determines it.
        example: for ``.demi``, and a module in evaluation: an input, a tuple of the arguments of ``forward``, or a dict
            of its named arguments, as in :func:`demitasse.optimize`. The file then contains the module's graph, too, so
            that ``demitasse.optimize(path)`` computes it without the module's code.

    Returns:
        The size of the file in bytes.

    Raises:
        UsageError: the format is unknown, does not support an option or cannot hold a tensor, or a value is not a
            tensor; or, with an example, the module cannot be stored with its graph.
        MethodError: an optimizer that a method does not know has stepped a compressed parameter.
        WriteError: the file cannot be written; an existing file is unchanged.
    """
    if not isinstance(path, (str, PathLike)) and not hasattr(path, "write"):
        raise UsageError(f"path is a {type(path).__name__}; expected a path, or a file that is open for writing")
    name = str(path) if isinstance(path, (str, PathLike)) else name_of(path)
    form = format_named(format) if format is not None else format_of(name)
    given: dict[str, object] = {"metadata": metadata, "signed_zeros": signed_zeros, "smallest": smallest}
    given |= {"preparation": preparation, "classes": classes, "example": example}
    if unknown := {option for option, value in given.items() if value is not None} - form.options:
        raise UsageError(f"{name}: {form.title} files do not support {min(unknown)}; expected a .demi file")
    for option in ("signed_zeros", "smallest"):
        if not isinstance(given[option], bool | None):
            raise UsageError(f"{option} is {given[option]!r}; expected True or False")
    _check_metadata(metadata)
    texts = {**metadata_of(metadata or {}, preparation, classes)}
    _check_metadata(texts)
    settings = Settings(signed_zeros=bool(signed_zeros), smallest=smallest)
    if not isinstance(path, (str, PathLike)):
        check_writable(path)
    state = _state(model)
    if example is not None:
        _add_graph(model, example, state, texts)
    if isinstance(path, (str, PathLike)):
        with atomic_write(path) as file:
            form.save(state, file, texts, settings)
            return file.tell()
    content = BytesIO()
    form.save(state, content, texts, settings)
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
    """Reads tensors by name: files of :func:`save`, checkpoints of ``torch.save``, caffemodels, ONNX models.

    If the state_dict is under a key of a checkpoint, or all names begin with the prefix ``module.`` of DataParallel,
    it is extracted, and a line is logged.

    Args:
        path: the path of the file, its bytes, or a file open for reading in binary mode.
        into: a module to load the tensors into, wrapped or not. Its tensors on the meta device are replaced, all
            others are filled in place.
        device: the device of the tensors, if no module is given.
        format: name of the format, such as ``demi``, ``safetensors``, ``pt``, ``caffemodel`` or ``onnx``; by default
            the suffix of the path, or the bytes, determine it.
        key: key of the state_dict, if a checkpoint contains several.

    Returns:
        The module, or the tensors by name if no module is given.

    Raises:
        FileFormatError: the file is missing, cut short, corrupt, of another format, or contains more than tensors.
        WeightsError: the tensors do not match the module; the message names the first difference.
        UsageError: the format is unknown or has no keys, there is no state_dict under the key, the source, the
            module or the device is invalid, or the module has parameters without a shape.
    """
    if into is not None and not isinstance(into, nn.Module):
        raise UsageError(f"into is a {type(into).__name__}; expected a torch.nn.Module")
    device = checked_device(device)
    source = content_of(path)
    form = format_named(format) if format is not None else _format(source)
    if key is not None and not form.nests:
        raise UsageError(f"{place_of(source)}: {form.title} files have no keys, found key {key!r}; expected a .pt file")
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
            raise UsageError(f"{source}: {name} of the module has no shape yet; run the module once before loading")
    for name in sorted(own.keys() | state.keys()):
        if name not in state:
            raise WeightsError(f"{source}: there is no tensor {name!r}; {suggest(name, state)}")
        if name not in own:
            raise WeightsError(f"{source}: the module has no tensor {name!r}; {suggest(name, own)}")
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


def _add_graph(model: object, example: object, state: dict[str, Tensor], texts: dict[str, str]) -> None:
    """Adds the graph of a module to the metadata, and the constants that only the graph has to the tensors.

    Raises:
        UsageError: there is no module, the metadata has a graph already, or the module has no stored form.
    """
    from demitasse.graph.pytorch.module import arguments_of
    from demitasse.graph.pytorch.stored import stored_module

    if not isinstance(model, nn.Module):
        raise UsageError(f"model is a {type(model).__name__}; expected a module, whose graph is read with the example")
    if KEY in texts:
        raise UsageError(f"metadata {KEY!r}: the key is that of the graph; choose another")
    found = stored_module(unwrap(model), *arguments_of(example), state, plain_name)
    texts[KEY] = found.text
    state.update(found.constants)


def _check_metadata(metadata: object) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, Mapping):
        raise UsageError(f"metadata is a {type(metadata).__name__}; expected text by key")
    for key, value in metadata.items():
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
        raise UsageError(f"model is a {type(model).__name__}; expected a module, or tensors by name")
    for name, value in given.items():
        if not isinstance(name, str):
            raise UsageError(f"key {name!r} is of type {type(name).__name__}; expected tensors by name")
        if name.startswith(HIDDEN):
            raise UsageError(f"name {name!r} begins like those of the constants of a graph; rename the tensor")
        if not is_text(name):
            raise UsageError(f"name {name!r} cannot be encoded in UTF-8; rename the tensor")
        if not isinstance(value, Tensor):
            raise UsageError(f"{name} is a {type(value).__name__}; expected only tensors")
        if is_lazy(value):
            raise UsageError(f"{name} has no shape and no values yet; run the module once before saving")
    return {plain_name(name): with_plain_bools(value.detach()) for name, value in given.items()}
