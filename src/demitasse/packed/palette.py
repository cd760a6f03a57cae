"""Palettes turn the values of a tensor into symbols: 0 for zero, else 1 + the value's number in the palette."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from demitasse.errors import FileFormatError
from demitasse.packed.kernels.distinct import distinct, places
from demitasse.packed.reader import ByteReader, short
from demitasse.packed.tensor import Bits, DType, from_bytes, to_bytes

Symbols = NDArray[np.uint16]

# kinds of palettes in a header; NONE says that there is none
POWERS, LISTED, NONE = range(3)

# the most values of a palette, since the header lists their bytes
MOST_VALUES = 1 << 12


class Palette(ABC):
    """The distinct nonzero values of a tensor, by number.

    Attributes:
        kind: the number of the class in a header.
        signed: whether the lowest bit of a value's number is its sign.
        count: how many values there are; both signs count as one.
    """

    kind: ClassVar[int]
    signed: ClassVar[bool]
    count: int

    @property
    def depth(self) -> int:
        """Number of bits of a value's number, without the sign."""
        return (self.count - 1).bit_length()

    @property
    def size(self) -> int:
        """How many numbers the bits allow."""
        return 1 << (self.depth + self.signed)

    @abstractmethod
    def pack(self) -> bytes:
        """Returns what :func:`unpack` reads."""

    @abstractmethod
    def bits(self, dtype: DType) -> Bits:
        """Returns the bits of the values, (size,) by number; unused numbers get an arbitrary value."""


@dataclass(frozen=True)
class Powers(Palette):
    """Powers of two of either sign: the number of a value is 2 * (exponent - least) + sign.

    Attributes:
        least: the least exponent, as the floating-point format stores it.
        count: the number of exponents.
    """

    least: int
    count: int

    kind = POWERS
    signed = True

    @override
    def pack(self) -> bytes:
        return short(self.least, self.count - 1)

    @override
    def bits(self, dtype: DType) -> Bits:
        exponents = np.minimum(self.least + np.arange(1 << self.depth), dtype.largest_exponent)
        positive = exponents.astype(dtype.bits) << dtype.bits.type(dtype.mantissa)
        return np.stack([positive, positive | dtype.sign], axis=1).reshape(-1)


@dataclass(frozen=True)
class Listed(Palette):
    """A list of arbitrary values.

    Attributes:
        values: (count,), the bits of the values in order.
    """

    values: Bits

    kind = LISTED
    signed = False

    @override
    def pack(self) -> bytes:
        return short(self.count - 1) + to_bytes(self.values).tobytes()

    @property
    @override
    def count(self) -> int:  # type: ignore[override]
        return len(self.values)

    @override
    def bits(self, dtype: DType) -> Bits:
        return self.values[np.minimum(np.arange(self.size), self.count - 1)]


def unpack(kind: int, data: ByteReader, dtype: DType) -> Palette | None:
    """Reads what :meth:`Palette.pack` wrote; returns None if the kind is NONE.

    Raises:
        FileFormatError: the kind is unknown, or invalid for this type.
    """
    if kind == NONE:
        return None
    if kind == LISTED:
        count = data.number(MOST_VALUES - 1, "number of values") + 1
        return Listed(from_bytes(data.array("u1", count * dtype.size, "values"), dtype.bits))
    if kind != POWERS or not dtype.floating:
        raise FileFormatError(f"byte {data.offset}: found a palette of kind {kind} in a tensor of {dtype.name}")
    least = data.number(dtype.largest_exponent, "least exponent")
    return Powers(least, data.number(63, "exponents") + 1)


def find(bits: Bits, dtype: DType) -> Palette | None:
    """Returns the palette of the nonzero values; None if there are too many, or none."""
    values = np.sort(distinct(bits, MOST_VALUES + 1))
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
    # exponent 0 belongs to zero and subnormal numbers; powers too far apart are not a grid
    if fraction.any() or not least or largest - least >= 64:
        return None
    return Powers(least, largest - least + 1)


def _in_order(values: Bits, dtype: DType) -> Bits:
    """Sorts floating-point numbers by value, so that close numbers belong to close values."""
    if not dtype.floating:
        return values
    return values[np.argsort(np.where(values & dtype.sign, ~values, values | dtype.sign))]


def symbols(bits: Bits, palette: Palette, dtype: DType) -> Symbols:
    """Returns the symbols of values, all of which must be in the palette."""
    found: Symbols = places(bits, table(palette, dtype, palette.size + 1))
    return found


def values(found: Symbols, palette: Palette, dtype: DType) -> Bits:
    """Returns the bits of the values that the symbols stand for."""
    return table(palette, dtype, palette.size + 1)[found]


def table(palette: Palette, dtype: DType, count: int) -> Bits:
    """Returns the bits of the value of every symbol below ``count``; zero for symbols beyond the palette."""
    found = np.zeros(count, dtype.bits)
    found[1 : palette.size + 1] = palette.bits(dtype)
    return found
