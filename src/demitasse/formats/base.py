"""What a format of files that hold tensors by name is: one class each, and how the format of a file is found."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar, NamedTuple

from demitasse.errors import FileFormatError, UsageError
from demitasse.packed.tensor import Tensor
from demitasse.packed.writer import Progress, silent
from demitasse.registry import Registry, nearest

if TYPE_CHECKING:
    import torch

PACKED = ".demi"


class Contents(NamedTuple):
    """What a file holds.

    Attributes:
        tensors: in the order of the file.
        metadata: text by key: what the tensors do not tell, and another file of the same format needs.
        aliases: other names of tensors, each with the name that the tensor has among ``tensors``.
    """

    tensors: Sequence[Tensor]
    metadata: Mapping[str, str] = {}
    aliases: Mapping[str, str] = {}


class Settings(NamedTuple):
    """What reading and writing depends on beside the file; each format uses what has a meaning for it.

    Attributes:
        net: prototxt of the net, for names and shapes; None where there is none.
        layers: which layers compact files hold; see :class:`demitasse.caffe.layer_rule.LayerRule`.
        key: of the state_dict in a checkpoint of PyTorch; None for the only one.
        signed_zeros: whether a ``.demi`` file keeps -0.0; otherwise it becomes 0.0.
        smallest: see :func:`demitasse.packed.writer.pack`.
        say: is told what a reader has changed.
        progress: is called with the number of values that are coded, and the number of all values.
    """

    net: Path | None = None
    layers: str = "type"
    key: str | None = None
    signed_zeros: bool = False
    smallest: bool | None = None
    say: Callable[[str], None] = lambda line: None
    progress: Progress = silent


class Format(ABC):
    """A format of files; an entry of :data:`FORMATS`.

    Attributes:
        name: in the registry.
        suffixes: of its files; none where files have no suffix of their own.
        options: what :func:`demitasse.save` takes for it beside the tensors.
        keeps_metadata: whether its files have a place for any text by key.
        nests: whether a file may hold several state_dicts, each under a key.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    options: ClassVar[frozenset[str]] = frozenset()
    keeps_metadata: bool = False
    nests: ClassVar[bool] = False

    @abstractmethod
    def read(self, source: Path | bytes, settings: Settings) -> Contents:
        """Reads a file, given by its path or its bytes.

        Raises:
            FileFormatError: it is missing, cut short, damaged, or of another format.
            UsageError: the settings lack what the format needs, or a package that it needs is not installed.
        """

    @abstractmethod
    def write(self, contents: Contents, file: BinaryIO, settings: Settings) -> None:
        """Writes a file.

        Raises:
            WeightsError: the format cannot hold a tensor; the message names it, and says why.
            UsageError: as :meth:`read`.
        """

    def load(self, source: Path | bytes, device: str | torch.device, key: str | None = None) -> dict[str, torch.Tensor]:
        """Reads a file as PyTorch's tensors; errors as of :meth:`read`."""
        from demitasse.formats.tensors import to_state

        return to_state(self.read(source, Settings(key=key)), device)

    def save(
        self, state: Mapping[str, torch.Tensor], file: BinaryIO, metadata: Mapping[str, str], settings: Settings
    ) -> None:
        """Writes PyTorch's tensors; errors as of :meth:`write`."""
        from demitasse.formats.tensors import of_state

        self.write(of_state(state, metadata), file, settings)

    def recognizes(self, content: bytes) -> bool:
        """Returns whether bytes begin as files of this format do; False where nothing tells."""
        return False

    @property
    def title(self) -> str:
        """The format as messages call it: its first suffix, or its name."""
        return self.suffixes[0] if self.suffixes else self.name


FORMATS: Registry[Format] = Registry("format")


def format_of(path: str | Path) -> Format:
    """Returns the format that the suffix of a path stands for.

    Raises:
        UsageError: it stands for none.
    """
    if not os.fspath(path):
        raise UsageError("the path is empty; expected the name of a file")
    path = Path(path)
    for suffix, found in sorted(_by_suffix().items(), key=lambda item: -len(item[0])):
        if path.name.endswith(suffix) and path.name != suffix:
            return found
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; expected a file")
    near = nearest(path.suffix, _by_suffix())
    hint = f"did you mean {near!r}?" if near else f"expected {_expected()}, or the format"
    raise UsageError(f"{path}: files ending in {path.suffix or 'nothing'!r} are not known; {hint}")


def format_named(name: str) -> Format:
    """Returns the format of a name such as ``demi``, or of a suffix such as ``.pth``.

    Raises:
        UsageError: there is none.
    """
    if not isinstance(name, str):
        raise UsageError(f"format is {name!r}; expected {_names()}")
    bare = name.removeprefix(".")
    found = FORMATS[bare] if bare in FORMATS else _by_suffix().get(f".{bare}")
    if found is None:
        near = nearest(bare, FORMATS)
        hint = f"did you mean {near!r}?" if near else f"expected {_names()}"
        raise UsageError(f"format {name!r} is not known; {hint}")
    return found


def format_within(content: bytes) -> Format:
    """Returns the format of bytes.

    Raises:
        FileFormatError: no format recognizes them.
    """
    for name in FORMATS:
        if FORMATS[name].recognizes(content):
            return FORMATS[name]
    raise FileFormatError(
        f"data: {len(content):,} bytes, which begin with {content[:9]!r}; expected the contents of {_expected()}"
    )


def _by_suffix() -> dict[str, Format]:
    return {suffix: FORMATS[name] for name in FORMATS for suffix in FORMATS[name].suffixes}


def _expected() -> str:
    return " or ".join([PACKED, *sorted(_by_suffix().keys() - {PACKED})])


def _names() -> str:
    return " or ".join(sorted(FORMATS, key=lambda name: (name != PACKED[1:], name)))
