"""The values of a tensor as symbols: 0 for zero, else 1 + the number of the value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from demitasse.packed.tensor import Bits, DType

Symbols = np.ndarray[Any, np.dtype[np.uint16]]

# a list of values costs their bytes; with more of them, they are no list any more
MOST_VALUES = 1 << 12


class Palette(ABC):
    """The values of a tensor that are not zero, by number.

    Attributes:
        signed: whether the lowest bit of a number is a sign.
        count: of the values, those of either sign counted once.
    """

    signed: ClassVar[bool]
    count: int

    @property
    def depth(self) -> int:
        """Bits of a number, without a sign."""
        return (self.count - 1).bit_length()

    @property
    def size(self) -> int:
        """The number of values, counted to whole bits."""
        return 1 << (self.depth + self.signed)

    @abstractmethod
    def bits(self, dtype: DType) -> Bits:
        """Returns the values, by number; what bits allow and the palette does not have is something all the same."""


@dataclass(frozen=True)
class Powers(Palette):
    """Powers of two of either sign: the number of a value is 2 * (exponent - least) + sign.

    Attributes:
        least: the least exponent, as the floating-point format stores it.
        count: the number of exponents.
    """

    least: int
    count: int

    signed = True

    def bits(self, dtype: DType) -> Bits:
        """See :class:`Palette`."""
        exponents = np.minimum(self.least + np.arange(1 << self.depth), dtype.largest_exponent)
        positive = exponents.astype(dtype.bits) << dtype.bits.type(dtype.mantissa)
        return np.stack([positive, positive | dtype.sign], axis=1).reshape(-1)


@dataclass(frozen=True)
class Listed(Palette):
    """Any values.

    Attributes:
        values: their bits, in order.
    """

    values: Bits

    signed = False

    @property
    def count(self) -> int:  # type: ignore[override]
        """See :class:`Palette`."""
        return len(self.values)

    def bits(self, dtype: DType) -> Bits:
        """See :class:`Palette`."""
        return self.values[np.minimum(np.arange(self.size), self.count - 1)]


def find(bits: Bits, dtype: DType) -> Palette | None:
    """Returns the palette of the values that are not zero; None where they are too many, or all are zero."""
    if len(bits) > 16 * MOST_VALUES and len(np.unique(bits[:: len(bits) // (4 * MOST_VALUES)])) > MOST_VALUES:
        return None
    values = np.unique(bits)
    values = values[values != 0]
    if not 0 < len(values) <= MOST_VALUES:
        return None
    return _powers(values, dtype) or Listed(_in_order(values, dtype))


def _powers(values: Bits, dtype: DType) -> Powers | None:
    if not dtype.floating:
        return None
    mantissa = dtype.bits.type(dtype.mantissa)
    fraction = values & dtype.bits.type((1 << dtype.mantissa) - 1)
    exponents = values >> mantissa & dtype.bits.type(dtype.largest_exponent)
    least, largest = int(exponents.min()), int(exponents.max())
    # 0 is for numbers that are no powers; far ones make no grid
    if fraction.any() or not least or largest - least >= 64:
        return None
    return Powers(least, largest - least + 1)


def _in_order(values: Bits, dtype: DType) -> Bits:
    """Sorts by value where a floating-point number is meant: near numbers are near values."""
    if not dtype.floating:
        return values
    return values[np.argsort(np.where(values & dtype.sign, ~values, values | dtype.sign))]


def symbols(bits: Bits, palette: Palette, dtype: DType) -> Symbols:
    """Returns the symbols of values, all of which the palette has."""
    values = palette.bits(dtype)
    order = np.argsort(values, kind="stable")
    found = order[np.minimum(np.searchsorted(values, bits, sorter=order), len(values) - 1)] + 1
    return np.where(bits == 0, 0, found).astype(np.uint16)


def values(found: Symbols, palette: Palette, dtype: DType) -> Bits:
    """Returns the bits of the values of symbols."""
    table = np.concatenate([np.zeros(1, dtype.bits), palette.bits(dtype)])
    return table[found]
