"""Preparation and classes of a file, as metadata ``demitasse.input`` and ``demitasse.classes`` of ONNX models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from demitasse.preparation import CLASSES, PREPARATION

if TYPE_CHECKING:
    import onnx

KEYS = (PREPARATION, CLASSES)
_PREFIX = "demitasse."


def take_texts(model: onnx.ModelProto) -> dict[str, str]:
    """Removes the entries from the metadata of a model and returns them: key -> text."""
    entries = {_PREFIX + key: key for key in KEYS}
    # protobuf returns text that is not UTF-8 as bytes
    ours = [entry for entry in model.metadata_props if entry.key in entries and isinstance(entry.value, str)]
    for entry in ours:
        model.metadata_props.remove(entry)
    return {entries[entry.key]: entry.value for entry in ours}


def add_texts(model: onnx.ModelProto, metadata: Mapping[str, str]) -> None:
    """Adds the texts of the two keys to the metadata of a model."""
    for key in KEYS:
        if key in metadata:
            model.metadata_props.add(key=_PREFIX + key, value=metadata[key])
