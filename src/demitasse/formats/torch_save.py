"""``.pt``, the pickle that ``torch.save`` writes; only tensors are read from it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.errors import FileFormatError, UsageError
from demitasse.formats.base import FORMATS, Settings
from demitasse.formats.checkpoints import state_dict_of
from demitasse.formats.sources import missing_file_error, place_of, unreadable_file_error
from demitasse.formats.state_format import StateFormat

# pickle protocols of old versions of torch.save
_PICKLES = range(2, 6)


class TorchSave(StateFormat):
    """A state_dict, or a checkpoint that contains one; tied tensors stay tied."""

    name = "pt"
    suffixes = (".pt", ".pth", ".pth.tar", ".th", ".ckpt")
    nests: ClassVar = True

    @override
    def recognizes(self, content: bytes) -> bool:
        is_old = len(content) > 8 and content[0] == 0x80 and content[1] in _PICKLES and bool(content[2])
        return content.startswith(b"PK\3\4") or is_old

    @override
    def save(
        self, state: Mapping[str, Tensor], file: BinaryIO, metadata: Mapping[str, str], settings: Settings
    ) -> None:
        # torch.save refuses storage that is shared by tensors of several types
        types: dict[int, torch.dtype] = {}
        plain = {}
        for name, tensor in state.items():
            own = tensor.layout != torch.strided or tensor.is_meta
            first = tensor.dtype if own else types.setdefault(tensor.untyped_storage().data_ptr(), tensor.dtype)
            plain[name] = tensor if first == tensor.dtype else tensor.clone()
        try:
            torch.save(plain, file)
        except Exception:
            for name, tensor in plain.items():
                _check_saved(name, tensor)
            raise

    @override
    def load(self, source: Path | bytes, device: str | torch.device, key: str | None = None) -> dict[str, Tensor]:
        file: BytesIO | Path = BytesIO(source) if isinstance(source, bytes) else source
        if isinstance(file, Path) and file.is_dir():
            raise FileFormatError(f"{file}: is a folder; expected a file")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of TorchScript before it raises
                found = torch.load(file, map_location=device, weights_only=True)
        except FileNotFoundError:
            raise missing_file_error(source) from None
        except Exception as error:
            raise unreadable_file_error(source, error, ".pt") from error
        return state_dict_of(found, place_of(source), key)


def _check_saved(name: str, tensor: Tensor) -> None:
    """Raises UsageError if torch cannot save a tensor."""
    try:
        torch.save(tensor, BytesIO())
    except Exception as error:
        kind = f"{str(tensor.layout).removeprefix('torch.')} {str(tensor.dtype).removeprefix('torch.')}"
        raise UsageError(f"{name}: torch cannot save a {kind} tensor: {type(error).__name__}") from None


FORMATS.register(TorchSave.name)(TorchSave())
