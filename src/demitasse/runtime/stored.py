"""The graph that a .demi file contains as text."""

from __future__ import annotations

from pathlib import Path

from demitasse.formats.base import PACKED
from demitasse.formats.tensors import to_torch
from demitasse.graph import Graph
from demitasse.graph.stored import KEY, read_graph
from demitasse.packed.file import File


def stored_graph(path: str | Path) -> Graph | None:
    """Returns the graph of a file with its weights; None if the file contains none, or is of another format.

    Raises:
        FileFormatError: the file is damaged, or its graph is none.
    """
    if Path(path).suffix != PACKED:
        return None
    with File(path) as file:
        text = file.header.metadata.get(KEY)
        if text is None:
            return None
        return read_graph(text, {tensor.name: to_torch(tensor) for tensor in file.tensors()}, str(path))
