"""``.safetensors``, the format of Hugging Face."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.errors import FileFormatError, UsageError
from demitasse.formats.base import FORMATS, Settings
from demitasse.formats.sources import missing_file_error, place_of, read_undisturbed, unreadable_file_error
from demitasse.formats.state_format import StateFormat
from demitasse.formats.tensors import check_sizes, dense

_METADATA = "__metadata__"
# the upper bytes of the header length at the start of a file; no header is that long
_LENGTH = slice(4, 8)


class Safetensors(StateFormat):
    """A JSON header followed by the values; tied tensors are written once for each name."""

    name = "safetensors"
    suffixes = (".safetensors",)
    options: ClassVar = frozenset({"metadata", "preparation", "classes"})
    keeps_metadata = True

    @override
    def recognizes(self, content: bytes) -> bool:
        # or a file cut short after the length of its header
        return content[8:9] == b"{" or (len(content) == _LENGTH.stop and not any(content[_LENGTH]))

    @override
    def save(
        self, state: Mapping[str, Tensor], file: BinaryIO, metadata: Mapping[str, str], settings: Settings
    ) -> None:
        from safetensors.torch import save

        check_sizes(state)
        if _METADATA in state:
            raise UsageError(f"{_METADATA}: this name is reserved in .safetensors files; rename the tensor")
        plain: dict[str, Tensor] = {}
        taken: set[int] = set()
        for name, tensor in state.items():
            values = dense(name, tensor)
            # safetensors refuses tensors that share memory
            plain[name] = values.clone() if values.untyped_storage().data_ptr() in taken else values
            taken.add(values.untyped_storage().data_ptr())
        try:
            content = save(plain, dict(metadata) or None)
        except Exception as error:
            raise _refused(plain) or error from error
        file.write(content)

    @override
    def load(self, source: Path | bytes, device: str | torch.device, key: str | None = None) -> dict[str, Tensor]:
        from safetensors.torch import load, load_file

        try:
            if isinstance(source, bytes):
                return {name: tensor.to(device) for name, tensor in load(source).items()}
            # safetensors opens a file twice, for its header and for its values
            return read_undisturbed(source, lambda: load_file(source, str(device)))
        except KeyError as error:
            raise FileFormatError(
                f"{place_of(source)}: safetensors can read type {error} only from a path, not from bytes"
            ) from error
        except FileNotFoundError:
            raise missing_file_error(source) from None
        except Exception as error:
            raise unreadable_file_error(source, error, ".safetensors") from error

    @override
    def metadata(self, source: Path | bytes) -> Mapping[str, str]:
        from safetensors import safe_open

        if isinstance(source, bytes):
            header = json.loads(source[8 : 8 + int.from_bytes(source[:8], "little")])
            return dict(sorted(header.get(_METADATA, {}).items()))
        with safe_open(source, "pt") as file:
            return dict(sorted((file.metadata() or {}).items()))  # safetensors returns them in any order


def _refused(state: dict[str, Tensor]) -> UsageError | None:
    """Returns the error for the first tensor that the installed version of safetensors cannot write."""
    from safetensors.torch import save

    for name, tensor in state.items():
        try:
            save({name: tensor})
        except Exception:
            kind = str(tensor.dtype).removeprefix("torch.")
            return UsageError(
                f"{name}: the installed safetensors cannot write {kind} tensors of shape {tuple(tensor.shape)}"
            )
    return None


FORMATS.register(Safetensors.name)(Safetensors())
