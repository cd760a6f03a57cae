"""Which types of layers there are: those that compute, and the sources of data."""

from __future__ import annotations

from collections.abc import Iterable

from demitasse.caffe import schema
from demitasse.caffe.definition.filter import Placed
from demitasse.caffe.upgrade.v1 import layer_type
from demitasse.errors import UnknownNameError
from demitasse.registry import nearest


def unknown_type(kind: str) -> str | None:
    """Returns what to say of a layer type that does not exist; None where it does."""
    from demitasse.caffe.layers import LAYERS
    from demitasse.caffe.sources import SOURCES

    if kind in LAYERS or kind in SOURCES:
        return None
    near = current_type(kind) or nearest(kind, [*LAYERS, *SOURCES])
    return f"unknown layer type {kind!r}" + (f"; did you mean {near!r}?" if near else "")


def current_type(kind: str) -> str | None:
    """Returns today's type for a constant of ``layers``, the form of 2014; None where it is none."""
    constants = schema.V1LayerParameter.DESCRIPTOR.enum_types_by_name["LayerType"]
    return layer_type(kind) if kind in constants.values_by_name else None


def check_types(layers: Iterable[Placed]) -> None:
    """Checks the types of all layers of a net.

    Raises:
        UnknownNameError: of one or more there is none; says which, and where.
    """
    faults = [(placed, unknown_type(placed.layer.type)) for placed in layers if placed.layer.type]
    lines = [f"layer {placed.layer.name!r} ({placed.place}): {what}" for placed, what in faults if what]
    if lines:
        raise UnknownNameError("\n".join(lines))
