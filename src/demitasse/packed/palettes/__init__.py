"""Palettes: few values for a whole tensor, or for each row times a scale of its own."""

from __future__ import annotations

from demitasse.errors import FileFormatError
from demitasse.packed.palettes.base import LISTED, NONE, POWERS, SCALED, Palette
from demitasse.packed.palettes.fixed import find_fixed, unpack_listed, unpack_powers
from demitasse.packed.palettes.scaled import find_scaled, unpack_scaled
from demitasse.packed.reader import ByteReader
from demitasse.packed.tensor import Tensor

__all__ = ["NONE", "SCALED", "Palette", "find", "unpack"]


def find(tensor: Tensor) -> list[Palette]:
    """Returns the palettes that hold all nonzero values of a tensor; none for too many values, or only zeros."""
    return [found for found in (find_fixed(tensor), find_scaled(tensor)) if found]


def unpack(kind: int, data: ByteReader, tensor: Tensor) -> Palette | None:
    """Reads what :meth:`Palette.pack` wrote; returns None if the kind is NONE.

    Raises:
        FileFormatError: the palette is invalid for this tensor.
    """
    if kind == NONE:
        return None
    if kind == LISTED:
        return unpack_listed(data, tensor.dtype)
    if not tensor.dtype.floating:
        raise FileFormatError(f"byte {data.offset}: found a palette of kind {kind} in a tensor of {tensor.dtype.name}")
    return unpack_powers(data, tensor.dtype) if kind == POWERS else unpack_scaled(data, tensor)
