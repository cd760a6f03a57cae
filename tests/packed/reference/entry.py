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
    kind = 2
    zeros = linked = False
    palette: Sequence[int] = ()
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

    def values(self, symbols: Sequence[int]) -> list[int]:
        """Returns the bits of the values that symbols of the palette stand for."""
        numbers = range(1 << (self.depth + self.signed))
        if self.kind == 0:
            mantissa, sign = self.type[2], 8 * self.type[1] - 1
            exponents = (min(self.palette[0] + (number >> 1), largest_exponent(self.type)) for number in numbers)
            found = [exponent << mantissa | (k & 1) << sign for k, exponent in enumerate(exponents)]
        else:
            found = [self.palette[min(number, len(self.palette) - 1)] for number in numbers]
        meant = dict(enumerate(found, 1))
        return [meant.get(symbol, 0) for symbol in symbols]


def read_settings(header: Cursor, entry: Entry) -> None:
    flags = header.short(31 if entry.codec == 2 else 7)
    entry.kind, entry.zeros, entry.linked = flags & 3, bool(flags & 4), bool(flags & 8)
    check(entry.kind < 3, "no such palette")
    count = 1
    if entry.kind == 0:
        check(entry.type[2] >= 0, "powers of two of integers")
        entry.palette, count = [header.short(largest_exponent(entry.type))], header.short(63) + 1
        entry.signed = 1
    elif entry.kind == 1:
        count = header.short(4095) + 1
        entry.palette = [int.from_bytes(header.take(entry.type[1]), "big") for _ in range(count)]
    entry.depth = (count - 1).bit_length()
    if entry.codec == 3:
        few = 1 << (entry.depth + entry.signed) < 256
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
