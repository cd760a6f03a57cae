"""An open .demi file, as a mapping of names to PyTorch tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.files import Closing
from demitasse.formats.sources import content_of
from demitasse.formats.tensors import checked_device, to_torch
from demitasse.graph.stored import HIDDEN
from demitasse.packed.file import LIMIT, File
from demitasse.preparation import Preparation, classes_in, preparation_in


class PackedFile(Closing, Mapping[str, Tensor]):
    """A .demi file as a mapping of names to tensors; each tensor is decoded when it is accessed.

    ::

        with demitasse.open("model.demi") as file:
            bias = file["fc1.bias"]

    Small tensors share a payload and are decoded together; the last decoded payload is cached. Constants that only the
    graph of a stored module needs are left out.

    Args:
        source: the path of the file, its bytes, or a file that is open for reading.
        device: the device of the tensors.
        limit: the largest memory of all tensors together, in bytes; files that need more are refused.
        threads: the number of threads that decode; None for the number of cores.

    Raises:
        UsageError: the source is not a file, or the device, the limit or the number of threads is invalid.
        FileFormatError: the file is missing, cut short, corrupt, or needs more memory than the limit.
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
        """The text stored in the file, by key."""
        return self._file.header.metadata

    @property
    def preparation(self) -> Preparation | None:
        """How an image becomes the input of the net; None if the file does not say.

        Raises:
            FileFormatError: the text in the metadata is not valid.
        """
        return preparation_in(self.metadata)

    @property
    def classes(self) -> Sequence[str] | None:
        """The names of the classes, in order; None if the file has none.

        Raises:
            FileFormatError: the text in the metadata is not valid.
        """
        return classes_in(self.metadata)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the tensors by name, from the header."""
        entries = self._file.header.entries
        return {each.name: each.dtype.shown(each.shape) for each in entries if not each.name.startswith(HIDDEN)}

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yields all names and tensors in order, decoded by several threads.

        Raises:
            FileFormatError: a payload is corrupt.
        """
        for tensor in self._file.tensors():
            if tensor.name.startswith(HIDDEN):
                continue
            yield tensor.name, to_torch(tensor).to(self._device)

    @override
    def __getitem__(self, name: str) -> Tensor:
        if isinstance(name, str) and name.startswith(HIDDEN):
            raise KeyError(name)
        return to_torch(self._file.tensor(name)).to(self._device)

    @override
    def __iter__(self) -> Iterator[str]:
        return (name for name in self._file.names if not name.startswith(HIDDEN))

    @override
    def __len__(self) -> int:
        return sum(1 for _ in self)

    @override
    def close(self) -> None:
        self._file.close()
