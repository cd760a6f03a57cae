"""PyTorch's tensors by name in files, for :data:`demitasse.packed.formats.FORMATS`: safetensors and ``torch.save``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from demitasse.files import atomic_write
from demitasse.io import to_packed, to_torch
from demitasse.io.forms import FORMS, SAFETENSORS, TORCH, Form, ties
from demitasse.io.tensors import check_sizes
from demitasse.packed.formats import FORMATS, Contents, Settings

# the name of torch.save's format
CHECKPOINT = "pt"


class StateDict:
    """One form of :mod:`demitasse.io.forms`; tensors that are tied stay so.

    Args:
        form: reads and writes the files.
        suffixes: theirs.
    """

    def __init__(self, form: Form, *suffixes: str) -> None:
        self._form = form
        self.suffixes = suffixes
        self.keeps_metadata = "metadata" in form.options

    def read(self, path: Path, settings: Settings) -> Contents:
        """See :class:`demitasse.packed.formats.Format`."""
        state = self._form.read(path, "cpu", settings.key)
        check_sizes(state)
        aliases = ties(state)
        tensors = [to_packed(name, tensor) for name, tensor in state.items() if name not in aliases]
        return Contents(tensors, self._form.metadata(path), aliases)

    def write(self, contents: Contents, path: Path, settings: Settings) -> None:
        """See :class:`demitasse.packed.formats.Format`."""
        # another name of a tensor has its very values: so they are tied again
        first: dict[int, torch.Tensor] = {}
        state = {each.name: first.setdefault(id(each.bits), to_torch(each)) for each in contents.tensors}
        options: dict[str, Any] = {"metadata": contents.metadata} if self.keeps_metadata and contents.metadata else {}
        with atomic_write(path) as file:
            self._form.write(state, file, **options)


FORMATS.register("safetensors")(StateDict(SAFETENSORS, ".safetensors"))
FORMATS.register(CHECKPOINT)(StateDict(TORCH, *(suffix for suffix, form in FORMS.items() if form is TORCH)))
