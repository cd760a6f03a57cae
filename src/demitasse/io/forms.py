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


class Demi:
    """``.demi``: what demitasse is for."""

    options: frozenset[str] = frozenset({"metadata", "signed_zeros", "smallest"})

    def write(self, state: Mapping[str, Tensor], path: Path, **options: Any) -> None:
        """See :class:`Form`; the options are those of :func:`demitasse.packed.writer.pack`."""
        first: dict[tuple[Any, ...], str] = {}
        aliases = {}
        for name, tensor in state.items():
            known = first.setdefault(_memory(name, tensor), name)
            if known != name:
                aliases[name] = known
        tensors = [to_packed(name, tensor) for name, tensor in state.items() if name not in aliases]
        path.write_bytes(pack(tensors, aliases=aliases, **options))

    def read(self, path: Path, device: str | torch.device) -> State:
        """See :class:`Form`."""
        with PackedFile(path, device) as file:
            return dict(file.tensors())


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
            raise unreadable(path, error) from None


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
            raise unreadable(path, error) from None
        if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
            raise FileFormatError(f"{path}: holds more than tensors by name")
        return found


FORMS: dict[str, Form] = {".demi": Demi(), ".safetensors": Safetensors(), ".pt": Torch(), ".pth": Torch()}


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


def unreadable(path: Path, error: Exception) -> FileFormatError:
    """Returns the error for what a reader raised: they raise what they like at a broken file."""
    first = (str(error) or type(error).__name__).splitlines()[0]
    return FileFormatError(f"{path}: cannot be read as {path.suffix}: {first}")
