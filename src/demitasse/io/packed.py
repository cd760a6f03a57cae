"""Between torch and .demi files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from demitasse.errors import UsageError
from demitasse.files import Closing
from demitasse.io.sources import content_of
from demitasse.io.tensors import checked_device, dense
from demitasse.packed.file import LIMIT, File
from demitasse.packed.tensor import BY_NAME
from demitasse.packed.tensor import Tensor as Packed

# torch cannot give numpy every type, but the bits of every type
_BITS = {1: torch.uint8, 2: torch.uint16, 4: torch.uint32, 8: torch.uint64}


def to_packed(name: str, tensor: Tensor) -> Packed:
    """Returns a tensor as the packed format knows it.

    Raises:
        UsageError: the format has no such type, or the tensor is not dense.
    """
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind not in BY_NAME:
        raise UsageError(f"{name} has type {kind}; expected one of {', '.join(BY_NAME)}")
    dtype = BY_NAME[kind]
    flat = dense(name, tensor).reshape(-1).view(_BITS[dtype.size])
    return Packed(name, dtype, dtype.stored(tuple(tensor.shape)), flat.numpy())


def to_torch(tensor: Packed) -> Tensor:
    """Returns a tensor of the packed format, on the CPU; it takes over the memory.

    Raises:
        UsageError: this PyTorch has no such type.
    """
    kind = getattr(torch, tensor.dtype.name, None)
    if kind is None:
        raise UsageError(f"{tensor.name} has type {tensor.dtype.name}, which PyTorch {torch.__version__} does not know")
    if not tensor.size:  # numpy's strides are none of torch's
        return torch.empty(tensor.dtype.shown(tensor.shape), dtype=kind)
    return torch.from_numpy(tensor.bits).view(kind).reshape(tensor.dtype.shown(tensor.shape))


class PackedFile(Closing, Mapping[str, Tensor]):
    """A .demi file as a mapping of names to tensors, each decoded when it is asked for.

    ::

        with demitasse.open("model.demi") as file:
            bias = file["fc1.bias"]

    Small tensors share a payload and are decoded together; the last payload is kept.

    Args:
        source: the path of the file, its bytes, or a file that is open for reading.
        device: where the tensors go.
        limit: most bytes of memory that all tensors together may take; a file that says it needs more is refused.
        threads: that decode; None for as many as there are cores.

    Raises:
        UsageError: the source is no file, or the device, the limit or the threads have no meaning here.
        FileFormatError: there is no such file, or it is cut short, corrupt, or needs more memory than the limit.
    """

    def __init__(
        self,
        source: str | Path | bytes | BinaryIO,
        device: str | torch.device = "cpu",
        limit: int = LIMIT,
        threads: int | None = None,
    ) -> None:
        self._device = checked_device(device)
        self._file = File(content_of(source), limit, threads)

    @property
    def metadata(self) -> Mapping[str, str]:
        """The text that the file carries, by key."""
        return self._file.header.metadata

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the tensors, which the header knows."""
        return {entry.name: entry.dtype.shown(entry.shape) for entry in self._file.header.entries}

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yields all names and tensors in order; several threads decode.

        Raises:
            FileFormatError: a payload is corrupt.
        """
        for tensor in self._file.tensors():
            yield tensor.name, to_torch(tensor).to(self._device)

    def __getitem__(self, name: str) -> Tensor:
        return to_torch(self._file.tensor(name)).to(self._device)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.names)

    def __len__(self) -> int:
        return len(self._file.names)

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()
