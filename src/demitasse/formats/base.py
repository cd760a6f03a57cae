"""The base class of file formats that hold tensors by name, and how the format of a file is determined."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar, NamedTuple

from demitasse.errors import FileFormatError, UsageError
from demitasse.packed import SUFFIX
from demitasse.packed.tensor import Tensor
from demitasse.packed.writer import Progress, silent
from demitasse.registry import Registry, nearest

if TYPE_CHECKING:
    import torch

PACKED = SUFFIX


class Contents(NamedTuple):
    """The contents of a file.

    Attributes:
        tensors: the tensors, in the order of the file.
        metadata: text by key, which another file of the same format needs in addition to the tensors.
        aliases: further names of tensors -> the name that the same tensor has in ``tensors``.
    """

    tensors: Sequence[Tensor]
    metadata: Mapping[str, str] = {}
    aliases: Mapping[str, str] = {}


class Settings(NamedTuple):
    """Settings for reading and writing; each format uses those that apply to it.

    Attributes:
        net: prototxt of the net, for names and shapes, or None.
        layers: which layers compact files contain; see :class:`demitasse.caffe.layer_rule.LayerRule`.
        key: key of the state_dict in a PyTorch checkpoint; None for the only one.
        signed_zeros: whether a ``.demi`` file keeps -0.0; otherwise it becomes 0.0.
        smallest: see :func:`demitasse.packed.writer.pack`.
        say: called with a message about each change that a reader makes.
        progress: called with the number of values coded so far, and the number of all values.
    """

    net: Path | None = None
    layers: str = "type"
    key: str | None = None
    signed_zeros: bool = False
    smallest: bool | None = None
    say: Callable[[str], None] = lambda line: None
    progress: Progress = silent


class Format(ABC):
    """A file format; an entry of :data:`FORMATS`.

    Attributes:
        name: its name in the registry.
        suffixes: the suffixes of its files; empty if its files have no suffix of their own.
        options: the options of :func:`demitasse.save` that it supports.
        keeps_metadata: whether its files can store any text by key.
        keeps: keys of metadata that its files can store if they cannot store any text.
        nests: whether a file may contain several state_dicts, each under a key.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    options: ClassVar[frozenset[str]] = frozenset()
    keeps_metadata: bool = False
    keeps: ClassVar[frozenset[str]] = frozenset()
    nests: ClassVar[bool] = False

    @abstractmethod
    def read(self, source: Path | bytes, settings: Settings) -> Contents:
        """Reads a file, given by its path or its bytes.

        Raises:
            FileFormatError: the file is missing, cut short, damaged, or of another format.
            UsageError: a setting or an installed package that the format needs is missing.
        """

    @abstractmethod
    def write(self, contents: Contents, file: BinaryIO, settings: Settings) -> None:
        """Writes a file.

        Raises:
            WeightsError: the format cannot hold a tensor; the message names the tensor and the reason.
            UsageError: see :meth:`read`.
        """

    def load(self, source: Path | bytes, device: str | torch.device, key: str | None = None) -> dict[str, torch.Tensor]:
        """Reads a file as PyTorch tensors by name; raises the errors of :meth:`read`."""
        from demitasse.formats.tensors import to_state

        return to_state(self.read(source, Settings(key=key)), device)

    def save(
        self, state: Mapping[str, torch.Tensor], file: BinaryIO, metadata: Mapping[str, str], settings: Settings
    ) -> None:
        """Writes PyTorch tensors; raises the errors of :meth:`write`."""
        from demitasse.formats.tensors import of_state

        self.write(of_state(state, metadata), file, settings)

    def recognizes(self, content: bytes) -> bool:
        """Returns whether bytes begin like a file of this format; False for formats without such a mark."""
        return False

    @property
    def title(self) -> str:
        """The name of the format in messages: its first suffix, or its registry name."""
        return self.suffixes[0] if self.suffixes else self.name


FORMATS: Registry[Format] = Registry("format")


def format_of(path: str | Path) -> Format:
    """Returns the format of a path, by its suffix.

    Raises:
        UsageError: the path is empty or a folder, or no format has its suffix.
    """
    if not os.fspath(path):
        raise UsageError("the path is empty; expected the name of a file")
    path = Path(path)
    for suffix, found in sorted(_by_suffix().items(), key=lambda item: -len(item[0])):
        if path.name.endswith(suffix) and path.name != suffix:
            return found
    if path.is_dir():
        raise UsageError(f"{path}: found a folder; expected a file")
    near = nearest(path.suffix, _by_suffix())
    hint = f"did you mean {near!r}?" if near else f"expected {_expected()}, or the format"
    found_suffix = f"unknown suffix {path.suffix!r}" if path.suffix else "the name has no suffix"
    raise UsageError(f"{path}: {found_suffix}; {hint}")


def format_named(name: str) -> Format:
    """Returns the format with a name such as ``demi``, or a suffix such as ``.pth``.

    Raises:
        UsageError: there is no such format.
    """
    if not isinstance(name, str):
        raise UsageError(f"format is {name!r}; expected {_names()}")
    bare = name.removeprefix(".")
    found = FORMATS[bare] if bare in FORMATS else _by_suffix().get(f".{bare}")
    if found is None:
        near = nearest(bare, FORMATS)
        hint = f"did you mean {near!r}?" if near else f"expected {_names()}"
        raise UsageError(f"unknown format {name!r}; {hint}")
    return found


def format_within(content: bytes) -> Format:
    """Returns the format of the bytes of a file.

    Raises:
        FileFormatError: no format recognizes the bytes.
    """
    for name in FORMATS:
        if FORMATS[name].recognizes(content):
            return FORMATS[name]
    raise FileFormatError(
        f"data: found {len(content):,} bytes that begin with {content[:9]!r}; expected the contents of {_expected()}"
    )


def _by_suffix() -> dict[str, Format]:
    return {suffix: FORMATS[name] for name in FORMATS for suffix in FORMATS[name].suffixes}


def _expected() -> str:
    return " or ".join([PACKED, *sorted(_by_suffix().keys() - {PACKED})])


def _names() -> str:
    return " or ".join(sorted(FORMATS, key=lambda name: (name != PACKED[1:], name)))
