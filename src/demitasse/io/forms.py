"""The forms of files that tensors are saved in: one class each, chosen by the suffix."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch
from torch import Tensor

from demitasse.errors import FileFormatError, UsageError
from demitasse.io.checkpoints import state_dict_of
from demitasse.io.packed import PackedFile, to_packed
from demitasse.io.sources import missing, place_of, undisturbed, unreadable
from demitasse.io.tensors import check_sizes, dense
from demitasse.packed.writer import pack

State = dict[str, Tensor]


class Form(Protocol):
    """A form of files.

    Attributes:
        options: what :meth:`write` takes beside the tensors.
        nests: whether :meth:`read` knows state_dicts that stand under a key.
    """

    options: frozenset[str]
    nests: bool

    def write(self, state: Mapping[str, Tensor], file: BinaryIO, **options: Any) -> None:
        """Writes tensors.

        Raises:
            UsageError: the form cannot hold a tensor; the message names it.
        """

    def read(self, source: Path | bytes, device: str | torch.device, key: str | None = None) -> State:
        """Reads what was written.

        Args:
            source: the path of the file, or its bytes.
            device: where the tensors go.
            key: of the state_dict in a form that nests.

        Raises:
            FileFormatError: the file is missing, cut short, of another form, or holds more than tensors.
        """

    def metadata(self, path: Path) -> Mapping[str, str]:
        """Returns the text, by key, of a file that can be read; nothing where the form has no place for it."""


class Demi:
    """``.demi``: what demitasse is for."""

    options: frozenset[str] = frozenset({"metadata", "signed_zeros", "smallest"})
    nests = False

    def write(self, state: Mapping[str, Tensor], file: BinaryIO, **options: Any) -> None:
        """See :class:`Form`; the options are those of :func:`demitasse.packed.writer.pack`."""
        check_sizes(state)
        aliases = ties(state)
        tensors = [to_packed(name, tensor) for name, tensor in state.items() if name not in aliases]
        file.write(pack(tensors, aliases=aliases, **options))

    def read(self, source: Path | bytes, device: str | torch.device, key: str | None = None) -> State:
        """See :class:`Form`."""
        with PackedFile(source, device) as file:
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
    flags = tensor.is_conj(), tensor.is_neg()
    return tensor.data_ptr(), tensor.device, tensor.dtype, tensor.shape, tensor.stride(), flags


_METADATA = "__metadata__"


class Safetensors:
    """``.safetensors``."""

    options = frozenset({"metadata"})
    nests = False

    def write(self, state: Mapping[str, Tensor], file: BinaryIO, **options: Any) -> None:
        """See :class:`Form`."""
        from safetensors.torch import save

        check_sizes(state)
        if _METADATA in state:
            raise UsageError(f"{_METADATA}: this name is reserved in .safetensors files; give the tensor another")
        plain: State = {}
        taken: set[int] = set()
        for name, tensor in state.items():
            values = dense(name, tensor)
            # safetensors refuses tensors that share memory
            plain[name] = values.clone() if values.untyped_storage().data_ptr() in taken else values
            taken.add(values.untyped_storage().data_ptr())
        try:
            content = save(plain, **options)
        except Exception as error:
            raise _refused(plain) or error from None
        file.write(content)

    def read(self, source: Path | bytes, device: str | torch.device, key: str | None = None) -> State:
        """See :class:`Form`."""
        from safetensors.torch import load, load_file

        try:
            if isinstance(source, bytes):
                return {name: tensor.to(device) for name, tensor in load(source).items()}
            # safetensors opens a file twice, for its header and for its values
            return undisturbed(source, lambda: load_file(source, str(device)))
        except KeyError as error:
            raise FileFormatError(f"{place_of(source)}: safetensors reads type {error} from a file alone") from None
        except FileNotFoundError:
            raise missing(source) from None
        except Exception as error:
            raise unreadable(source, error, ".safetensors") from None

    def metadata(self, path: Path) -> Mapping[str, str]:
        """See :class:`Form`."""
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            return dict(sorted((file.metadata() or {}).items()))  # they come in any order


def _refused(state: State) -> UsageError | None:
    """Returns the error for the first tensor that the version of safetensors that is installed cannot write."""
    from safetensors.torch import save

    for name, tensor in state.items():
        try:
            save({name: tensor})
        except Exception:
            kind = str(tensor.dtype).removeprefix("torch.")
            return UsageError(f"{name}: .safetensors files cannot hold {kind} of shape {tuple(tensor.shape)} here")
    return None


class Torch:
    """``.pt``, as ``torch.save`` writes it: a pickle, which is read as tensors alone."""

    options = frozenset[str]()
    nests = True

    def write(self, state: Mapping[str, Tensor], file: BinaryIO, **options: Any) -> None:
        """See :class:`Form`."""
        # torch.save refuses one memory with several types
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

    def read(self, source: Path | bytes, device: str | torch.device, key: str | None = None) -> State:
        """See :class:`Form`."""
        file: Any = BytesIO(source) if isinstance(source, bytes) else source
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of TorchScript, before the error
                found = torch.load(file, map_location=device, weights_only=True)
        except FileNotFoundError:
            raise missing(source) from None
        except Exception as error:
            raise unreadable(source, error, ".pt") from None
        return state_dict_of(found, place_of(source), key)

    def metadata(self, path: Path) -> Mapping[str, str]:
        """See :class:`Form`."""
        return {}


def _check_saved(name: str, tensor: Tensor) -> None:
    """Raises UsageError where torch cannot save a tensor."""
    try:
        torch.save(tensor, BytesIO())
    except Exception as error:
        kind = f"{str(tensor.layout).removeprefix('torch.')} {str(tensor.dtype).removeprefix('torch.')}"
        raise UsageError(f"{name}: torch cannot save a tensor of this kind, {kind}: {type(error).__name__}") from None


SAFETENSORS, TORCH = Safetensors(), Torch()
FORMS: dict[str, Form] = {
    ".demi": Demi(),
    ".safetensors": SAFETENSORS,
    ".pt": TORCH,
    ".pth": TORCH,
    ".pth.tar": TORCH,
    ".th": TORCH,
    ".ckpt": TORCH,
}
# protocols of the pickles that torch.save wrote of old
_PICKLES = range(2, 6)
# the upper bytes of the length with which a .safetensors file begins: no header is that long
_LENGTH = slice(4, 8)
# how the contents begin: byte by place
_BEGINS: dict[str, tuple[int, bytes]] = {".demi": (0, b"demi"), ".pt": (0, b"PK\3\4"), ".safetensors": (8, b"{")}


def form_of(name: str | Path) -> Form:
    """Returns the form that a suffix stands for.

    Raises:
        UsageError: it stands for none.
    """
    if not os.fspath(name):
        raise UsageError("the path is empty; expected the name of a file")
    path = Path(name)
    for suffix in reversed(FORMS):
        if path.name.endswith(suffix) and path.name != suffix:
            return FORMS[suffix]
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; expected a file")
    raise UsageError(
        f"{path}: files ending in {path.suffix or 'nothing'!r} are not known; expected {_expected()}, or the format"
    )


def form_named(name: str) -> Form:
    """Returns the form of a name such as ``demi`` or ``.demi``.

    Raises:
        UsageError: there is none.
    """
    if not isinstance(name, str):
        raise UsageError(f"format is {name!r}; expected {_expected()}")
    suffix = f".{name.removeprefix('.')}"
    if suffix not in FORMS:
        raise UsageError(f"format {name!r} is not known; expected {_expected()}")
    return FORMS[suffix]


def name_of_form(form: Form) -> str:
    """Returns the first suffix of a form."""
    return next(suffix for suffix, each in FORMS.items() if each is form)


def form_within(content: bytes) -> Form:
    """Returns the form that bytes have.

    Raises:
        FileFormatError: they have none.
    """
    for suffix, (place, begin) in _BEGINS.items():
        if content[place : place + len(begin)] == begin:
            return FORMS[suffix]
    if len(content) > _LENGTH.stop and content[0] == 0x80 and content[1] in _PICKLES and content[2]:
        return TORCH
    if len(content) == _LENGTH.stop and not any(content[_LENGTH]):
        return SAFETENSORS  # cut short behind the length of its header
    raise FileFormatError(
        f"data: {len(content):,} bytes, which begin with {content[:9]!r}; expected the contents of {_expected()}"
    )


def _expected() -> str:
    return " or ".join(FORMS)
