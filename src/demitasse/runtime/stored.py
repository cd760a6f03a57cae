"""The net that a .demi file contains as text."""

from __future__ import annotations

from pathlib import Path

from demitasse.errors import UsageError
from demitasse.formats.base import PACKED, Contents
from demitasse.formats.blobs import DEFINITION
from demitasse.formats.tensors import to_state
from demitasse.graph import Graph
from demitasse.graph.pytorch import Exported
from demitasse.graph.pytorch.stored import read_exported
from demitasse.graph.stored import KEY
from demitasse.packed.file import File


def stored(path: str | Path) -> Exported | Graph | None:
    """Returns the module of a file, or the graph of a Caffe net; None if it contains none, or is of another format.

    Raises:
        UsageError: it contains only weights.
        FileFormatError: the file is damaged, or its graph is none.
    """
    if Path(path).suffix != PACKED:
        return None
    with File(path) as file:
        metadata = file.header.metadata
        text = metadata.get(KEY)
        if text is None and DEFINITION not in metadata:
            raise UsageError(
                f"{path}: it contains no definition of the net, nor its graph; save a module with example=..., or pack "
                "a Caffe net with definition=True"
            )
        if text is None:
            return None
        return read_exported(text, to_state(Contents(list(file.tensors()))), str(path))
