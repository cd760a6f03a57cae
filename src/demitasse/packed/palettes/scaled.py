"""Palettes with a scale for each row, or for each index of the second axis: few numbers, times the scale.

A scale has a short mantissa, so that the products are exact and take two bytes a row in a header.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from typing_extensions import override

from demitasse.arrays import Array
from demitasse.errors import FileFormatError
from demitasse.packed.palettes.base import BYTE, MOST_VALUES, SCALED, Palette, Symbols
from demitasse.packed.palettes.fixed import MOST_EXPONENTS
from demitasse.packed.reader import ByteReader, short
from demitasse.packed.tensor import Bits, DType, Tensor

INTEGERS, POWERS_OF_TWO = range(2)

MOST_INTEGERS = MOST_VALUES // 2
# the most bits of a scale's mantissa: a byte for each row
MOST_BITS = 8
# values that are handled at a time
_CHUNK = 1 << 14
# the fraction and the exponent of float64
_FRACTION, _BIAS = 52, 1023
# values of a row that are worth a scale
_LEAST = 4
# a tensor whose rows mostly have the scale that all of them could have needs only that one
_SHARED = 0.5


@dataclass(frozen=True)
class ScaledRows(Palette):
    """Numbers times the scale of their row; see the module.

    The number of a value is 2 * k + sign, its magnitude is k + 1 or 2^k, times the scale. The scale of a row is
    (1 + fraction / 2^bits) * 2^exponent.

    Attributes:
        form: INTEGERS or POWERS_OF_TWO.
        axis: 0 for scales of rows, 1 for scales of the second axis.
        count: the number of magnitudes.
        bits: number of bits of a scale's mantissa.
        least: the least exponent of a scale, as the floating-point format stores it.
        exponents: (rows,) uint8, the exponents of the scales less the least one.
        fractions: (rows,) uint8.
    """

    form: int
    axis: int
    count: int
    bits: int
    least: int
    exponents: Array
    fractions: Array

    kind = SCALED
    signed = True

    @property
    @override
    def is_of_bytes(self) -> bool:
        return 2 * self.count < BYTE

    @override
    def pack(self) -> bytes:
        front = short(self.form | self.axis << 1 | self.bits << 2, self.count - 1, self.least)
        return front + self.exponents.tobytes() + (self.fractions.tobytes() if self.bits else b"")

    @override
    def memory(self, tensor: Tensor) -> int:
        return 64 * min(tensor.size, _CHUNK) + 40 * len(self.exponents) + 32 * self.size

    @override
    def symbols(self, tensor: Tensor) -> Symbols:
        values = self.divided(tensor)
        k = np.frexp(values)[1] - 1 if self.form else np.abs(values) - 1
        return np.where(values == 0, 0, 2 * k + (values < 0) + 1).astype(np.uint16)

    @override
    def values(self, symbols: Symbols, tensor: Tensor) -> Bits:
        found = np.zeros(tensor.size, tensor.dtype.bits)
        numbers, scales = self._numbers(), self.scales(tensor.dtype)
        for part, lines in self._chunks(tensor):
            found[part] = _to_bits(numbers[symbols[part]] * scales[lines], tensor.dtype)
        return found

    def divided(self, tensor: Tensor) -> Array:
        """Returns the values of a tensor, or of a part, in units of their scales, (size,) float64."""
        found = np.zeros(tensor.size)
        scales = self.scales(tensor.dtype)
        for part, lines in self._chunks(tensor):
            found[part] = _to_real(tensor.bits[part], tensor.dtype) / scales[lines]
        return found

    def _numbers(self) -> Array:
        """Returns what each symbol stands for in units of the scale, float64; 0 beyond the palette."""
        k = np.minimum(np.arange(self.size) >> 1, self.count - 1)
        found = np.zeros(max(BYTE, self.size + 1))
        found[1 : self.size + 1] = np.exp2(k) if self.form else k + 1
        found[2 : self.size + 1 : 2] *= -1
        return found

    def scales(self, dtype: DType) -> Array:
        """Returns the scales, (rows,) float64."""
        exponents = self.least + self.exponents.astype(np.int64) - _bias(dtype) - self.bits
        return np.ldexp(self._mantissas().astype(np.float64), exponents)

    def _mantissas(self) -> Array:
        return (1 << self.bits) + self.fractions.astype(np.int64)

    def _chunks(self, tensor: Tensor) -> Iterator[tuple[slice, Array]]:
        """Yields parts of a flat tensor, and the number of the scale of each value."""
        shape = tensor.whole or tensor.shape
        inner = math.prod(shape[self.axis + 1 :])
        for first in range(0, tensor.size, _CHUNK):
            part = slice(first, min(first + _CHUNK, tensor.size))
            yield part, np.arange(tensor.start + part.start, tensor.start + part.stop) // inner % len(self.exponents)

    def is_exact(self, dtype: DType) -> bool:
        """Returns whether the type has all values, as normal finite numbers."""
        mantissas = self._mantissas()
        largest = mantissas if self.form else mantissas * self.count
        odd = mantissas // (mantissas & -mantissas) * (1 if self.form else self.count)
        top = self.least + self.exponents.astype(np.int64) - self.bits + _bits_of(largest)
        fits = (odd < 2 << dtype.mantissa) & (top + (self.count - 1) * self.form < dtype.largest_exponent)
        return bool(fits.all())


def unpack_scaled(data: ByteReader, tensor: Tensor) -> ScaledRows:
    """Reads what :meth:`ScaledRows.pack` wrote.

    Raises:
        FileFormatError: the palette is invalid for this tensor.
    """
    at, shape, dtype = data.offset, tensor.whole or tensor.shape, tensor.dtype
    flags = data.number(MOST_BITS << 2 | 3, "form of scales")
    form, axis, bits = flags & 1, flags >> 1 & 1, flags >> 2
    if axis and len(shape) < 2:
        raise FileFormatError(f"byte {at}: found scales along the second axis of a tensor of shape {shape}")
    count = data.number((MOST_EXPONENTS if form else MOST_INTEGERS) - 1, "magnitudes") + 1
    least = data.number(dtype.largest_exponent, "least exponent")
    lines = (*shape, 1)[axis]
    exponents = data.array("u1", lines, "exponents of scales")
    fractions = data.array("u1", lines, "fractions of scales") if bits else np.zeros(lines, np.uint8)
    found = ScaledRows(form, axis, count, bits, least, exponents, fractions)
    if not least or fractions.max(initial=0) >> bits or not found.is_exact(dtype):
        raise FileFormatError(f"byte {at}: found scales whose multiples {dtype.name} does not have")
    return found


def find_scaled(tensor: Tensor) -> ScaledRows | None:
    """Returns the palette of a tensor with a scale for each row, or for each index of the second axis.

    Returns:
        None if the values are of no such form, or one scale serves all rows.
    """
    # a type of one byte has few values in any case; a single scale is no matter of this palette
    if not tensor.dtype.floating or tensor.dtype.size < 2 or not tensor.bits.any():
        return None
    for axis in range(len(tensor.shape[:2])):
        lines = tensor.bits.reshape(*tensor.shape[: axis + 1], -1)
        lines = np.moveaxis(lines, axis, 0)
        found = _find(lines, axis, tensor.dtype) if len(lines) > 1 and lines[0].size >= _LEAST else None
        if found:
            return found
    return None


class _Lines(NamedTuple):
    """What is known of some rows; 0 for rows of zeros.

    Attributes:
        unit: (rows,), the greatest common divisor of the values: an odd number ...
        power: (rows,), ... times 2^(power - bits of the mantissa), as the floating-point format stores exponents.
        most: (rows,), the largest value in these units.
        kept: (rows,), how many values are not zero.
        powers: (rows,), whether all values are powers of two times the unit.
    """

    unit: Array
    power: Array
    most: Array
    kept: Array
    powers: Array


def _find(lines: Bits, axis: int, dtype: DType) -> ScaledRows | None:
    """Returns the palette of lines, (rows, ...)."""
    parts, step = [], max(1, _CHUNK // max(1, lines[0].size))
    for first in range(0, len(lines), step):
        some = lines[first : first + step]
        found = _measured(some.reshape(len(some), -1), dtype)
        if found is None:
            return None
        parts.append(found)
    measured = _Lines(*map(np.concatenate, zip(*parts, strict=True)))
    if measured.powers.all():
        return _powers(measured, axis, dtype)
    return None if _is_shared(measured) else _integers(measured, axis, dtype)


def _measured(lines: Bits, dtype: DType) -> _Lines | None:
    """Returns the units of a few rows; None if these are not few numbers times a unit."""
    present = lines != 0
    exponents = (lines >> dtype.bits.type(dtype.mantissa)).astype(np.int64) & dtype.largest_exponent
    if (present & ((exponents == 0) | (exponents == dtype.largest_exponent))).any():
        return None
    mantissas = (lines.astype(np.int64) & ((1 << dtype.mantissa) - 1)) | 1 << dtype.mantissa
    lowest = mantissas & -mantissas
    odd = np.where(present, mantissas // lowest, 0)
    powers = np.where(present, exponents + _bits_of(lowest), 1 << 16)
    unit, power = np.gcd.reduce(odd, axis=1), powers.min(axis=1)
    multiples = odd // np.maximum(unit, 1)[:, None]
    shifts = np.where(present, np.minimum(powers - power[:, None], _FRACTION), 0)
    most = np.ldexp(multiples.astype(np.float64), shifts).max(axis=1)
    if most.max() > MOST_INTEGERS:
        return None
    power = np.where(unit, power, 0)
    return _Lines(unit, power, most.astype(np.int64), present.sum(axis=1), multiples.max(axis=1) <= 1)


def _powers(lines: _Lines, axis: int, dtype: DType) -> ScaledRows | None:
    """Returns a palette of powers of two; the largest one is that of each row, since small ones may be missing."""
    largest = np.where(lines.unit, lines.power + _bits_of(np.maximum(lines.most, 1)), 0)
    count = int(_bits_of(np.maximum(lines.most, 1)).max()) + 1
    used = lines.unit > 0
    if count > largest[used].max() - lines.power[used].min():
        return None  # one range holds all rows
    power = np.where(used, np.minimum(lines.power, largest - count + 1), 0)
    return _scaled(POWERS_OF_TWO, axis, count, lines.unit, power, dtype)


def _is_shared(lines: _Lines) -> bool:
    """Returns whether most rows have the unit that all rows could have."""
    used = lines.unit > 0
    units, powers = lines.unit[used], lines.power[used]
    return bool(((units == np.gcd.reduce(units)) & (powers == powers.min())).mean() >= _SHARED)


def _integers(lines: _Lines, axis: int, dtype: DType) -> ScaledRows | None:
    """Returns a palette of whole numbers, with the length of scales for which scales and numbers take least.

    A row with few values may have a unit that is a multiple of its scale; a divisor with a shorter mantissa serves too.
    """
    odd = np.arange(1, 2 << MOST_BITS, 2)
    divides = np.maximum(lines.unit, 1)[:, None] % odd == 0
    best = None
    for bits in range(MOST_BITS + 1):
        unit = np.where(divides & (odd < 2 << bits), odd, 1).max(axis=1)
        most = int((lines.unit // unit * lines.most).max())
        cost = bits * len(lines.unit) + math.log2(most) * int(lines.kept.sum())
        if most <= MOST_INTEGERS and (best is None or cost < best[0]):
            best = cost, most, unit
    return _scaled(INTEGERS, axis, best[1], best[2], lines.power, dtype) if best else None


def _scaled(form: int, axis: int, count: int, unit: Array, power: Array, dtype: DType) -> ScaledRows | None:
    """Returns the palette whose scales are odd numbers times powers of two; None if they do not fit in a file.

    Args:
        form: see :class:`ScaledRows`.
        axis: see :class:`ScaledRows`.
        count: see :class:`ScaledRows`.
        unit: (rows,), odd; what it is in rows of zeros does not matter.
        power: (rows,), 0 in rows of zeros.
        dtype: of the values.
    """
    length = _bits_of(np.maximum(unit, 1))
    bits = int(length.max())
    # rows of zeros get the scale of the row before them, which takes least
    rows = np.maximum.accumulate(np.where(power, np.arange(len(power)), -1))
    rows = np.maximum(rows, np.flatnonzero(power)[0])
    exponents = (power + length - dtype.mantissa)[rows]
    fractions = ((unit << bits - length) - (1 << bits))[rows]
    least = int(exponents.min())
    if bits > MOST_BITS or least < 1 or exponents.max() - least >= BYTE:
        return None
    exponents, fractions = (exponents - least).astype(np.uint8), fractions.astype(np.uint8)
    found = ScaledRows(form, axis, count, bits, least, exponents, fractions)
    return found if found.is_exact(dtype) else None


def _bits_of(numbers: Array) -> Array:
    """Returns the binary logarithm of positive whole numbers below 2^53, rounded down."""
    return np.frexp(numbers.astype(np.float64))[1].astype(np.int64) - 1


def _bias(dtype: DType) -> int:
    return dtype.largest_exponent >> 1


def _to_real(bits: Bits, dtype: DType) -> Array:
    """Returns zeros and normal numbers, given by their bits, as float64."""
    wide = bits.astype(np.uint64)
    low = 8 * dtype.size - 1  # the place of the sign
    sign, rest = wide >> np.uint64(low) << np.uint64(63), wide & np.uint64((1 << low) - 1)
    shifted = (rest << np.uint64(_FRACTION - dtype.mantissa)) + np.uint64(_BIAS - _bias(dtype) << _FRACTION)
    return np.where(rest, sign | shifted, np.uint64(0)).view(np.float64)


def _to_bits(values: Array, dtype: DType) -> Bits:
    """Returns the bits of zeros and numbers that the type has: the inverse of :func:`_to_real`."""
    wide = values.view(np.uint64)
    rest = (wide & np.uint64((1 << 63) - 1)) - np.uint64(_BIAS - _bias(dtype) << _FRACTION)
    low = np.uint64(8 * dtype.size - 1)
    bits = (wide >> np.uint64(63) << low) | (rest >> np.uint64(_FRACTION - dtype.mantissa))
    return np.where(values != 0, bits, np.uint64(0)).astype(dtype.bits)
