"""PyTorch's tensors by name in files, for :data:`demitasse.packed.formats.FORMATS`: safetensors and ``torch.save``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from demitasse.errors import FileFormatError, WeightsError
from demitasse.files import atomic_write
from demitasse.packed.formats import FORMATS, Contents, Settings
from demitasse.packed.tensor import BY_NAME, Tensor


def to_packed(name: str, tensor: torch.Tensor) -> Tensor:
    """Returns a tensor as files know it.

    Raises:
        WeightsError: it is sparse or quantized, or of a type that they do not know.
    """
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout != torch.strided or dtype not in BY_NAME:
        layout = str(tensor.layout).removeprefix("torch.")
        raise WeightsError(f"{name} is {layout}, of type {dtype}; expected strided, of one of {', '.join(BY_NAME)}")
    kind = BY_NAME[dtype]
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return Tensor(name, kind, tuple(tensor.shape), values.view(kind.bits))


def to_torch(tensor: Tensor) -> torch.Tensor:
    """Returns a tensor of PyTorch's, on the CPU."""
    values = torch.from_numpy(np.array(tensor.bits).view(np.uint8))
    return values.view(getattr(torch, tensor.dtype.name)).reshape(tensor.shape)


class StateDict(ABC):
    """Tensors by name."""

    suffixes: tuple[str, ...]
    keeps_metadata = False

    def read(self, path: Path, settings: Settings) -> Contents:
        """See :class:`demitasse.packed.formats.Format`."""
        try:
            found, metadata = self._read(path)
        except FileNotFoundError:
            raise FileFormatError(f"{path}: there is no such file") from None
        except Exception as error:
            # readers raise what they like at a broken file; what it was is in the message
            first_line = (str(error) or type(error).__name__).splitlines()[0]
            raise FileFormatError(f"{path}: not a {self.suffixes[0]}: {first_line}") from None
        if not isinstance(found, Mapping):
            raise FileFormatError(f"{path}: holds a {type(found).__name__}; expected tensors by name")
        for name, value in found.items():
            if not isinstance(name, str) or not isinstance(value, torch.Tensor):
                raise FileFormatError(f"{path}: {name!r} is a {type(value).__name__}; expected tensors by name, alone")
        return Contents([to_packed(name, tensor) for name, tensor in found.items()], metadata)

    def write(self, contents: Contents, path: Path, settings: Settings) -> None:
        """See :class:`demitasse.packed.formats.Format`."""
        tensors = {tensor.name: to_torch(tensor) for tensor in contents.tensors}
        with atomic_write(path) as temporary:
            self._write(tensors, contents.metadata, temporary)

    @abstractmethod
    def _read(self, path: Path) -> tuple[object, Mapping[str, str]]: ...

    @abstractmethod
    def _write(self, tensors: dict[str, torch.Tensor], metadata: Mapping[str, str], path: Path) -> None: ...


class SafeTensors(StateDict):
    """The metadata goes along."""

    suffixes: tuple[str, ...] = (".safetensors",)
    keeps_metadata = True

    def _read(self, path: Path) -> tuple[object, Mapping[str, str]]:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.offset_keys()}, file.metadata() or {}

    def _write(self, tensors: dict[str, torch.Tensor], metadata: Mapping[str, str], path: Path) -> None:
        save_file(tensors, path, dict(metadata) or None)


class Saved(StateDict):
    """What ``torch.save`` makes of a state_dict; it has no place for metadata."""

    suffixes: tuple[str, ...] = (".pt", ".pth")

    def _read(self, path: Path) -> tuple[object, Mapping[str, str]]:
        return torch.load(path, map_location="cpu", weights_only=True), {}

    def _write(self, tensors: dict[str, torch.Tensor], metadata: Mapping[str, str], path: Path) -> None:
        torch.save(tensors, path)


FORMATS.register("safetensors")(SafeTensors())
FORMATS.register("pt")(Saved())
