"""What the header says of a tensor, and what symbols of its palette stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.packed.reference.cursor import Cursor, check

# name, bytes, bits of the mantissa (-1: an integer)
TYPES = [
    ("float32", 4, 23), ("float16", 2, 10), ("bfloat16", 2, 7), ("float64", 8, 52),
    ("int8", 1, -1), ("uint8", 1, -1), ("int16", 2, -1), ("uint16", 2, -1), ("int32", 4, -1),
    ("uint32", 4, -1), ("int64", 8, -1), ("uint64", 8, -1), ("bool", 1, -1),
    ("float8_e4m3fn", 1, 3), ("float8_e5m2", 1, 2), ("complex64", 4, 23), ("complex128", 8, 52), ("complex32", 2, 10),
    ("float8_e4m3fnuz", 1, -1), ("float8_e5m2fnuz", 1, -1), ("float8_e8m0fnu", 1, -1), ("float4_e2m1fn_x2", 1, -1),
]  # fmt: skip
Type = tuple[str, int, int]


def largest_exponent(of: Type) -> int:
    return (1 << (8 * of[1] - 1 - of[2])) - 1


def matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    """Returns rows and columns."""
    rows = shape[0] if shape else 1
    return rows, math.prod(shape[1:]) if rows else 0


class Entry:
    """What the header says of a tensor."""

    name: str
    type: Type
    codec: int
    cut: bool
    begins: bool
    shape: tuple[int, ...]
    kind = 2  # also where there are no settings
    zeros = linked = False
    palette: Sequence[int] = ()
    scales: Scales | None = None
    depth = signed = 0
    group = side = 1

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def parts(self) -> list[tuple[int, ...]]:
        """Returns the shapes of the parts."""
        if not self.cut:
            return [self.shape]
        rows, columns = matrix(self.shape)
        if not self.size:
            return [(0, *self.shape[1:])]
        if columns > 1 << 19:
            return [(min(1 << 19, self.size - begin),) for begin in range(0, self.size, 1 << 19)]
        most = (1 << 19) // columns
        return [(min(most, rows - begin), *self.shape[1:]) for begin in range(0, rows, most)]

    def stored(self, bits: Sequence[int]) -> bytes:
        """Returns what the checksum knows of values."""
        check(self.type[0] != "bool" or max(bits, default=0) <= 1, "a bool is neither 0 nor 1")
        return b"".join(value.to_bytes(self.type[1], "little") for value in bits)

    def values(self, symbols: Sequence[int], begin: int = 0) -> list[int]:
        """Returns the bits of the values that symbols of the palette stand for, from an index of the flat tensor on."""
        if self.scales:
            return [self.scales.bits(self, i, symbol) if symbol else 0 for i, symbol in enumerate(symbols, begin)]
        numbers = range(1 << (self.depth + self.signed))
        if self.kind == 0:
            mantissa, sign = self.type[2], 8 * self.type[1] - 1
            exponents = (min(self.palette[0] + (number >> 1), largest_exponent(self.type)) for number in numbers)
            found = [exponent << mantissa | (k & 1) << sign for k, exponent in enumerate(exponents)]
        else:
            found = [self.palette[min(number, len(self.palette) - 1)] for number in numbers]
        meant = dict(enumerate(found, 1))
        return [meant.get(symbol, 0) for symbol in symbols]


class Scales:
    """The scales of rows, or of the indices of the second dimension."""

    def __init__(self, header: Cursor, entry: Entry) -> None:
        check(entry.type[2] >= 0, "scales of integers")
        flags = header.short(35)
        self.powers, self.axis, self.m = flags & 1, flags >> 1 & 1, flags >> 2
        check(self.axis < max(1, len(entry.shape)), "scales of a dimension that is not there")
        self.count = header.short(63 if self.powers else 2047) + 1
        least = header.short(largest_exponent(entry.type))
        check(least > 0, "scales below the normal numbers")
        rows = (*entry.shape, 1)[self.axis]
        self.exponents = [least + byte for byte in header.take(rows)]
        self.fractions = list(header.take(rows)) if self.m else [0] * rows
        check(all(fraction < 1 << self.m for fraction in self.fractions), "a fraction is too large")
        for row in range(rows):
            for k in {0, self.count - 1}:
                self.magnitude(entry, row, k)
            if not self.powers:
                odd = (1 << self.m) + self.fractions[row]
                while odd % 2 == 0:
                    odd //= 2
                check(odd * self.count < 2 << entry.type[2], "a multiple of a scale is not exact")

    def magnitude(self, entry: Entry, row: int, k: int) -> int:
        """Returns the bits of a magnitude: an integer times a power of two, as a normal number."""
        mantissa = entry.type[2]
        k = min(k, self.count - 1)
        integer = ((1 << self.m) + self.fractions[row]) * (1 << k if self.powers else k + 1)
        above = integer.bit_length() - 1
        exponent = self.exponents[row] - self.m + above
        check(exponent < largest_exponent(entry.type), "a multiple of a scale is too large")
        fraction = (integer << mantissa >> above) - (1 << mantissa)
        check((fraction + (1 << mantissa)) << above == integer << mantissa, "a multiple of a scale is not exact")
        return exponent << mantissa | fraction

    def bits(self, entry: Entry, i: int, symbol: int) -> int:
        """Returns the bits of the value of a symbol at an index of the flat tensor; 0 beyond the palette."""
        number = symbol - 1
        if number >= 2 << entry.depth:
            return 0
        row = i // math.prod(entry.shape[self.axis + 1 :]) % len(self.exponents)
        return self.magnitude(entry, row, number >> 1) | (number & 1) << (8 * entry.type[1] - 1)


def read_settings(header: Cursor, entry: Entry) -> None:
    flags = header.short(31 if entry.codec == 2 else 7)
    entry.kind, entry.zeros, entry.linked = flags & 3, bool(flags & 4), bool(flags & 8)
    count = 1
    if entry.kind == 0:
        check(entry.type[2] >= 0, "powers of two of integers")
        entry.palette, count = [header.short(largest_exponent(entry.type))], header.short(63) + 1
        entry.signed = 1
    elif entry.kind == 1:
        count = header.short(4095) + 1
        entry.palette = [int.from_bytes(header.take(entry.type[1]), "big") for _ in range(count)]
    elif entry.kind == 3:
        entry.scales = Scales(header, entry)
        count, entry.signed = entry.scales.count, 1
    entry.depth = (count - 1).bit_length()
    if entry.codec == 3:
        few = 2 * count < 256 if entry.kind == 3 else 1 << (entry.depth + entry.signed) < 256
        check(entry.kind == 2 or (few and not entry.zeros), "expected fewer values, and no plane of zeros")
        return
    if flags & 16:
        entry.group, entry.side = header.short(), header.short()
    elif len(entry.shape) > 2:
        entry.group, entry.side = math.prod(entry.shape[2:]), entry.shape[-1]
    rows, columns = matrix(entry.shape)
    check(0 < entry.size < 1 << 31 and rows + columns <= max(1 << 14, entry.size >> 4), "not a matrix of weights")
    check(entry.group > 0 and columns % entry.group == 0, "the group does not divide the columns")
    check(0 < entry.side <= entry.group, "the side is not within the group")
