"""The net that a .demi file contains as text, with its packed weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from demitasse.errors import UsageError
from demitasse.graph.graph import Graph
from demitasse.graph.stored import KEY, read_stored
from demitasse.packed import SUFFIX
from demitasse.runtime import packed_cache
from demitasse.runtime.packed_cache import StoredContents

if TYPE_CHECKING:
    from demitasse.graph.pytorch import Exported

# what a file contains, if not its graph: the prototxt of a Caffe net
_DEFINITION = "definition"


class StoredModel:
    """A file that contains its graph. What was read once comes from a cache, as it was packed last.

    Args:
        path: of the file.
        key: of its entry in the cache; empty for none.
        contents: of the file.
        is_cached: whether the contents come from the cache.

    Attributes:
        graph: as the file says, before any pass.
        metadata: key -> text.
        inputs: what the module takes; none of a Caffe net, whose inputs are tensors of float32.
    """

    def __init__(self, path: str | Path, key: str, contents: StoredContents, is_cached: bool) -> None:
        self._key = key
        self._contents = contents
        self._cached_forms = self._forms() if is_cached else None
        self.metadata: Mapping[str, str] = contents.metadata
        self.graph, signature = read_stored(contents.metadata[KEY], contents.weights, str(path))
        self.inputs = signature.inputs if signature else ()

    def remember(self) -> None:
        """Writes the weights to the cache as they are packed now, unless it has them so."""
        forms = self._forms()
        if self._key and forms != self._cached_forms:
            packed_cache.write(self._key, self._contents)
            self._cached_forms = forms

    def _forms(self) -> list[object]:
        return [packed_cache.form_of(weight) for weight in self._contents.weights.values()]


def stored_model(path: str | Path) -> StoredModel | None:
    """Returns the model of a file; None if it contains no graph, is of another format, or has types that numpy lacks.

    Raises:
        FileFormatError: the file is damaged, or its graph is none.
    """
    if Path(path).suffix != SUFFIX:
        return None
    key, state = "", _state(path)
    with suppress(OSError):  # what is wrong is said when the file is opened
        key = packed_cache.key_of(path)
    if key and (found := packed_cache.read(key)):
        return StoredModel(path, key, found, True)
    from demitasse.packed.file import File
    from demitasse.packed.weights import weights_of

    # one thread: each decodes into megabytes of its own, and the result is kept
    with File(path, threads=1) as file:
        if KEY not in file.header.metadata or not all(entry.dtype.is_of_numpy for entry in file.header.entries):
            return None
        contents = StoredContents(file.header.metadata, weights_of(file))
    # a file that was replaced meanwhile may not be the one of the key
    return StoredModel(path, key if _state(path) == state else "", contents, False)


def _state(path: str | Path) -> tuple[int, ...]:
    with suppress(OSError):
        found = os.stat(path)
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
    return ()


def stored_net(path: str | Path) -> Exported | Graph | None:
    """Returns the module of a file, or the graph of a Caffe net; None if it contains none, or is of another format.

    Raises:
        UsageError: it contains only weights.
        FileFormatError: the file is damaged, or its graph is none.
    """
    from demitasse.graph.pytorch.stored import read_exported
    from demitasse.graph.weights import Weight, of_file
    from demitasse.packed.file import File
    from demitasse.packed.weights import weights_of

    if Path(path).suffix != SUFFIX:
        return None
    with File(path) as file:
        metadata = file.header.metadata
        if KEY in metadata:
            types = {entry.name: entry.dtype for entry in file.header.entries}
            types |= {alias: types[name] for alias, name in file.header.aliases.items()}
            found = weights_of(file)
            weights: dict[str, Weight] = {name: of_file(weight, types[name]) for name, weight in found.items()}
            return read_exported(metadata[KEY], weights, str(path))
    if _DEFINITION not in metadata:
        raise UsageError(
            f"{path}: it contains no definition of the net, nor its graph; save a module with example=..., or pack "
            "a Caffe net with definition=True"
        )
    return None
