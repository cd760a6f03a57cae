"""The forms in which files hold the tensors of a net, by name: what each reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from demitasse.errors import UsageError
from demitasse.packed.tensor import Tensor
from demitasse.registry import Registry, suggest

PACKED = ".demi"


class Contents(NamedTuple):
    """What a file holds.

    Attributes:
        tensors: in the order of the file.
        metadata: text by key: what tensors do not tell, and another file of the same form needs.
        aliases: other names of tensors, each with the name that the tensor has among ``tensors``.
    """

    tensors: Sequence[Tensor]
    metadata: Mapping[str, str] = {}
    aliases: Mapping[str, str] = {}


class Settings(NamedTuple):
    """What files of some forms do not tell themselves.

    Attributes:
        net: prototxt of the net, for names and shapes; None where there is none.
        layers: which layers compact files hold; see :class:`demitasse.caffe.tools.layer_rule.LayerRule`.
        key: of the state_dict in a checkpoint of PyTorch; None for the one that there is.
        say: is told what a reader has changed.
    """

    net: Path | None = None
    layers: str = "type"
    key: str | None = None
    say: Callable[[str], None] = lambda line: None


class Format(Protocol):
    """A form of files.

    Attributes:
        suffixes: that name it; none where it has none of its own.
        keeps_metadata: whether files have a place for any text by key.
    """

    suffixes: tuple[str, ...]
    keeps_metadata: bool

    def read(self, path: Path, settings: Settings) -> Contents:
        """Reads a file.

        Raises:
            FileFormatError: it is missing, cut short, or of another form.
            UsageError: the settings lack what it needs.
        """

    def write(self, contents: Contents, path: Path, settings: Settings) -> None:
        """Writes a file, whole or not at all; a tensor of several names is given under each.

        Raises:
            WeightsError: it cannot hold a tensor; the message names it, and says why.
        """


FORMATS: Registry[Format] = Registry("format")


def chosen(path: Path, name: str | None = None, otherwise: str | None = None) -> str:
    """Returns the name of a file's format.

    Args:
        path: of the file; its suffix tells the format where no name is given.
        name: in :data:`FORMATS`.
        otherwise: the name where nothing is given and the suffix tells none.

    Raises:
        UsageError: no format has this name or suffix; the message names the nearest.
    """
    if name is not None:
        FORMATS[name]
        return name
    known = {suffix: each for each in FORMATS for suffix in FORMATS[each].suffixes}
    for suffix, found in known.items():
        if path.name.endswith(suffix):
            return found
    if path.suffix == PACKED:
        raise UsageError(f"{path}: is packed already; 'unpack' makes another file of it")
    if otherwise is not None:
        return chosen(path, otherwise)
    raise UsageError(
        f"{path}: no format has the ending {path.suffix!r}; {suggest(path.suffix, list(known))}; "
        f"or name one by --format: {', '.join(FORMATS)}"
    )
