"""Base of formats that store PyTorch tensors directly."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.formats.base import Contents, Format, Settings
from demitasse.formats.tensors import of_state, to_state


class StateFormat(Format):
    """A format that defines :meth:`load` and :meth:`save`; :meth:`read` and :meth:`write` are built on them."""

    @override
    @abstractmethod
    def load(self, source: Path | bytes, device: str | torch.device, key: str | None = None) -> dict[str, Tensor]: ...

    @override
    @abstractmethod
    def save(
        self, state: Mapping[str, Tensor], file: BinaryIO, metadata: Mapping[str, str], settings: Settings
    ) -> None: ...

    def metadata(self, source: Path | bytes) -> Mapping[str, str]:
        """Returns the text stored in a readable file, by key; empty if the format cannot store text."""
        return {}

    @override
    def read(self, source: Path | bytes, settings: Settings) -> Contents:
        state = self.load(source, "cpu", settings.key)
        return of_state(state, self.metadata(source))

    @override
    def write(self, contents: Contents, file: BinaryIO, settings: Settings) -> None:
        metadata = contents.metadata if self.keeps_metadata else {}
        self.save(to_state(contents), file, metadata, settings)
