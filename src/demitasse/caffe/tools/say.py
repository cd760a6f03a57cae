"""How tools speak: line by line, to whom the caller names."""

from __future__ import annotations

from collections.abc import Callable, Collection

from demitasse.caffe.log import warning
from demitasse.caffe.net import Net

Say = Callable[[str], None]


def silent(line: str) -> None:
    """Says nothing; the default."""


def log_initial(net: Net, loaded: Collection[str]) -> None:
    """Logs which layers with blobs are not among the loaded ones: they keep their initial values."""
    rest = [name for name, layer in net.named_layers().items() if layer.blob_names and name not in loaded]
    if rest:
        warning("tools", f"layers that keep their initial values: {', '.join(rest)}")
