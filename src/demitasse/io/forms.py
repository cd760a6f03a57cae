"""The forms of files that tensors are saved in: one class each, chosen by the suffix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from demitasse.errors import FileFormatError, UsageError
from demitasse.io.packed import PackedFile, to_packed
from demitasse.packed.writer import pack

State = dict[str, Tensor]


class Form(Protocol):
    """A form of files.

    Attributes:
        options: what :meth:`write` takes beside the tensors.
    """

    options: frozenset[str]

    def write(self, state: Mapping[str, Tensor], path: Path, **options: Any) -> None:
        """Writes tensors."""

    def read(self, path: Path, device: str | torch.device) -> State:
        """Reads what was written.

        Raises:
            FileFormatError: the file is missing, cut short, of another form, or holds more than tensors.
        """

    def metadata(self, path: Path) -> Mapping[str, str]:
        """Returns the text, by key, of a file that can be read; nothing where the form has no place for it."""


class Demi:
    """``.demi``: what demitasse is for."""

    options: frozenset[str] = frozenset({"metadata", "signed_zeros", "smallest"})

    def write(self, state: Mapping[str, Tensor], path: Path, **options: Any) -> None:
        """See :class:`Form`; the options are those of :func:`demitasse.packed.writer.pack`."""
        aliases = ties(state)
        tensors = [to_packed(name, tensor) for name, tensor in state.items() if name not in aliases]
        path.write_bytes(pack(tensors, aliases=aliases, **options))

    def read(self, path: Path, device: str | torch.device) -> State:
        """See :class:`Form`."""
        with PackedFile(path, device) as file:
            return dict(file.tensors())

    def metadata(self, path: Path) -> Mapping[str, str]:
        """See :class:`Form`."""
        with PackedFile(path) as file:
            return file.metadata


def ties(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Returns the names of tensors that are one with another before them, each with the name of that."""
    first: dict[tuple[Any, ...], str] = {}
    known = {name: first.setdefault(_memory(name, tensor), name) for name, tensor in state.items()}
    return {name: other for name, other in known.items() if name != other}


def _memory(name: str, tensor: Tensor) -> tuple[Any, ...]:
    """Returns what only tensors that are tied have in common."""
    if not tensor.numel() or tensor.layout != torch.strided:
        return (name,)
    return tensor.data_ptr(), tensor.device, tensor.dtype, tensor.shape, tensor.stride()


class Safetensors:
    """``.safetensors``."""

    options = frozenset({"metadata"})

    def write(self, state: Mapping[str, Tensor], path: Path, **options: Any) -> None:
        """See :class:`Form`."""
        from safetensors.torch import save_file

        # safetensors refuses tensors that share memory or lie in another order
        plain = {name: tensor.contiguous().clone() for name, tensor in state.items()}
        save_file(plain, path, **options)

    def read(self, path: Path, device: str | torch.device) -> State:
        """See :class:`Form`."""
        from safetensors.torch import load_file

        try:
            return load_file(path, str(device))
        except FileNotFoundError:
            raise missing(path) from None
        except Exception as error:
            raise unreadable(path, error, ".safetensors") from None

    def metadata(self, path: Path) -> Mapping[str, str]:
        """See :class:`Form`."""
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            return dict(sorted((file.metadata() or {}).items()))  # they come in any order


class Torch:
    """``.pt``, as ``torch.save`` writes it: a pickle, which is read as tensors alone."""

    options = frozenset[str]()

    def write(self, state: Mapping[str, Tensor], path: Path, **options: Any) -> None:
        """See :class:`Form`."""
        torch.save(dict(state), path)

    def read(self, path: Path, device: str | torch.device) -> State:
        """See :class:`Form`."""
        try:
            found = torch.load(path, map_location=device, weights_only=True)
        except FileNotFoundError:
            raise missing(path) from None
        except Exception as error:
            raise unreadable(path, error, ".pt") from None
        if not isinstance(found, dict):
            raise FileFormatError(f"{path}: holds a {type(found).__name__}; expected tensors by name")
        for name, value in found.items():
            if not isinstance(value, Tensor):
                raise FileFormatError(
                    f"{path}: holds more than tensors by name: {name!r} is a {type(value).__name__}; "
                    "expected a state_dict"
                )
        return found

    def metadata(self, path: Path) -> Mapping[str, str]:
        """See :class:`Form`."""
        return {}


SAFETENSORS, TORCH = Safetensors(), Torch()
FORMS: dict[str, Form] = {".demi": Demi(), ".safetensors": SAFETENSORS, ".pt": TORCH, ".pth": TORCH}


def form_of(path: Path) -> Form:
    """Returns the form that a suffix stands for.

    Raises:
        UsageError: it stands for none.
    """
    if path.suffix not in FORMS:
        raise UsageError(
            f"{path}: files ending in {path.suffix or 'nothing'!r} are not known; expected {' or '.join(FORMS)}"
        )
    return FORMS[path.suffix]


def missing(path: Path) -> FileFormatError:
    """Returns the error for a file that is not there."""
    return FileFormatError(f"{path}: there is no such file")


def unreadable(path: Path, error: Exception, form: str) -> FileFormatError:
    """Returns the error for what a reader of the form raised: they raise what they like at a broken file."""
    first = (str(error) or type(error).__name__).splitlines()[0]
    return FileFormatError(f"{path}: cannot be read as {form}: {first}")
