"""Palettes of values that are the same in all rows: powers of two, or a list."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from demitasse.packed.kernels.distinct import distinct, places
from demitasse.packed.palettes.base import BYTE, LISTED, MOST_VALUES, POWERS, Palette, Symbols
from demitasse.packed.reader import ByteReader, short
from demitasse.packed.tensor import Bits, DType, Tensor, from_bytes, to_bytes

MOST_EXPONENTS = 64


class FixedPalette(Palette):
    """Values that are the same in all rows."""

    @abstractmethod
    def bits(self, dtype: DType) -> Bits:
        """Returns the bits of the values, (size,) by number; unused numbers get an arbitrary value."""

    @override
    def symbols(self, tensor: Tensor) -> Symbols:
        found: Symbols = places(tensor.bits, self._table(tensor.dtype))
        return found

    @override
    def values(self, symbols: Symbols, tensor: Tensor) -> Bits:
        return self._table(tensor.dtype, BYTE)[symbols]

    def _table(self, dtype: DType, least: int = 0) -> Bits:
        """Returns the bits of the value of every symbol, of at least this number of symbols."""
        found = np.zeros(max(least, self.size + 1), dtype.bits)
        found[1 : self.size + 1] = self.bits(dtype)
        return found


@dataclass(frozen=True)
class Powers(FixedPalette):
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
class Listed(FixedPalette):
    """A list of arbitrary values.

    Attributes:
        listed: (count,), the bits of the values in order.
    """

    listed: Bits

    kind = LISTED
    signed = False

    @override
    def pack(self) -> bytes:
        return short(self.count - 1) + to_bytes(self.listed).tobytes()

    @property
    @override
    def count(self) -> int:  # type: ignore[override]
        return len(self.listed)

    @override
    def bits(self, dtype: DType) -> Bits:
        return self.listed[np.minimum(np.arange(self.size), self.count - 1)]


def unpack_powers(data: ByteReader, dtype: DType) -> Powers:
    """Reads what :meth:`Powers.pack` wrote.

    Raises:
        FileFormatError: the palette is invalid for this type.
    """
    least = data.number(dtype.largest_exponent, "least exponent")
    return Powers(least, data.number(MOST_EXPONENTS - 1, "exponents") + 1)


def unpack_listed(data: ByteReader, dtype: DType) -> Listed:
    """Reads what :meth:`Listed.pack` wrote.

    Raises:
        FileFormatError: there are too many values, or fewer than said.
    """
    count = data.number(MOST_VALUES - 1, "number of values") + 1
    return Listed(from_bytes(data.array("u1", count * dtype.size, "values"), dtype.bits))


def find_fixed(tensor: Tensor) -> FixedPalette | None:
    """Returns the palette of the nonzero values; None if there are too many, or none."""
    values = np.sort(distinct(tensor.bits, MOST_VALUES + 1))
    values = values[values != 0]
    if not 0 < len(values) <= MOST_VALUES:
        return None
    return _powers(values, tensor.dtype) or Listed(_in_order(values, tensor.dtype))


def _powers(values: Bits, dtype: DType) -> Powers | None:
    if not dtype.floating:
        return None
    mantissa = dtype.bits.type(dtype.mantissa)
    fraction = values & dtype.bits.type((1 << dtype.mantissa) - 1)
    exponents = values >> mantissa & dtype.bits.type(dtype.largest_exponent)
    least, largest = int(exponents.min()), int(exponents.max())
    # exponent 0 belongs to zero and subnormal numbers; powers too far apart are not a grid
    if fraction.any() or not least or largest - least >= MOST_EXPONENTS:
        return None
    return Powers(least, largest - least + 1)


def _in_order(values: Bits, dtype: DType) -> Bits:
    """Sorts floating-point numbers by value, so that close numbers belong to close values."""
    if not dtype.floating:
        return values
    return values[np.argsort(np.where(values & dtype.sign, ~values, values | dtype.sign))]
