"""``.demi``, demitasse's own format."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from typing_extensions import override

from demitasse.formats.base import FORMATS, PACKED, Contents, Format, Settings
from demitasse.graph.stored import HIDDEN, KEY
from demitasse.packed.file import File
from demitasse.packed.writer import Progress, pack, silent

if TYPE_CHECKING:
    import torch


class Demi(Format):
    """The bytes are defined by :mod:`demitasse.packed`."""

    name = "demi"
    suffixes = (PACKED,)
    options: ClassVar = frozenset({"metadata", "preparation", "classes", "signed_zeros", "smallest", "example"})
    keeps_metadata = True

    @override
    def recognizes(self, content: bytes) -> bool:
        return content.startswith(b"demi")

    @override
    def read(self, source: Path | bytes, settings: Settings) -> Contents:
        with File(source) as file:
            return contents_of(file, settings.progress)

    @override
    def write(self, contents: Contents, file: BinaryIO, settings: Settings) -> None:
        file.write(
            pack(
                contents.tensors,
                contents.metadata,
                settings.signed_zeros,
                settings.smallest,
                contents.aliases,
                settings.progress,
            )
        )

    @override
    def load(self, source: Path | bytes, device: str | torch.device, key: str | None = None) -> dict[str, torch.Tensor]:
        from demitasse.formats.packed_file import PackedFile

        # tensor by tensor, so that tensors for another device are never all in CPU memory
        with PackedFile(source, device) as file:
            return dict(file.tensors())


def contents_of(file: File, progress: Progress = silent) -> Contents:
    """Returns the contents of a file as other formats have them; for ``progress`` see ``Settings``.

    They are without the constants of a graph, and without the graph if it has some, which needs them.
    """
    total, done = sum(math.prod(entry.shape) for entry in file.header.entries), 0
    progress(done, total)
    tensors = []
    for tensor in file.tensors():
        if not tensor.name.startswith(HIDDEN):
            tensors.append(tensor)
        done += tensor.size
        progress(done, total)
    metadata = dict(file.header.metadata)
    if len(tensors) < len(file.names):
        metadata.pop(KEY, None)
    return Contents(tensors, metadata)


FORMATS.register(Demi.name)(Demi())
