"""Checks the types of layers: layers that compute, and sources of data."""

from __future__ import annotations

from collections.abc import Iterable

from demitasse.caffe import schema
from demitasse.caffe.definition.filter import Placed
from demitasse.caffe.upgrade.v1 import layer_type
from demitasse.errors import UnknownNameError
from demitasse.registry import nearest


def unknown_type(kind: str) -> str | None:
    """Returns the message for an unknown layer type; None if the type is known."""
    from demitasse.caffe.layers import LAYERS
    from demitasse.caffe.sources import SOURCES

    if kind in LAYERS or kind in SOURCES:
        return None
    near = current_type(kind) or nearest(kind, [*LAYERS, *SOURCES])
    return f"unknown layer type {kind!r}" + (f"; did you mean {near!r}?" if near else "")


def current_type(kind: str) -> str | None:
    """Returns the current type for a constant of ``layers``, the form of 2014; None for any other text."""
    constants = schema.V1LayerParameter.DESCRIPTOR.enum_types_by_name["LayerType"]
    return layer_type(kind) if kind in constants.values_by_name else None


def check_types(layers: Iterable[Placed]) -> None:
    """Checks the types of all layers of a net.

    Raises:
        UnknownNameError: types are unknown; the message has a line with the place for each.
    """
    faults = [(placed, unknown_type(placed.layer.type)) for placed in layers if placed.layer.type]
    lines = [f"layer {placed.layer.name!r} ({placed.place}): {what}" for placed, what in faults if what]
    if lines:
        raise UnknownNameError("\n".join(lines))
