"""Planes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, product

from tests.packed.reference.cursor import Cursor, check
from tests.packed.reference.entry import Entry, matrix


def decode_planes(payload: bytes, entry: Entry, shape: tuple[int, ...], begin: int) -> list[int]:
    """Returns the values of a tensor, or of a part, which begins at an index of the flat tensor."""
    cursor, (_, width, mantissa), (rows, columns) = Cursor(payload), entry.type, matrix(shape)
    if entry.kind != 2:
        bits = entry.values(decode_plane(cursor, rows, columns), begin)
        cursor.end()
        return bits
    present = None
    if entry.zeros:
        present = decode_plane(cursor, rows, columns)
        check(max(present, default=0) <= 1, "neither zero nor not")
        rows, columns = sum(present), 1
    planes = [decode_plane(cursor, rows, columns) for _ in range(width)]
    cursor.end()
    values = [int.from_bytes(each, "big") for each in zip(*planes, strict=True)]
    if mantissa >= 0:
        values = [value >> 1 | (value & 1) << (8 * width - 1) for value in values]
    if present is None:
        return values
    rest = iter(values)
    return [next(rest) if here else 0 for here in present]


def decode_plane(cursor: Cursor, rows: int, columns: int) -> Sequence[int]:
    how = cursor.short()
    check(how < 2, "no such plane")
    if how == 0:
        return cursor.take(rows * columns)
    b, *kinds = cursor.take(3)
    check(b in (12, 14) and all(1 <= count <= 8 for count in kinds), "no such plane")
    of_rows, of_columns = (list(read_kinds(cursor, *both)) for both in zip((rows, columns), kinds, strict=True))
    contexts = []
    for _ in product(*map(range, kinds)):
        frequencies = [cursor.short() for _ in range(cursor.short() + 1)]
        check(len(frequencies) <= 256 and sum(frequencies) == 1 << b, "frequencies do not add up")
        starts = accumulate(frequencies, initial=0)
        contexts.append(
            [
                (symbol, frequency, place)
                for symbol, (frequency, start) in enumerate(zip(frequencies, starts, strict=False))
                for place in range(frequency)
            ]
        )
    states = [cursor.number(4) for _ in range(4)]
    words = Cursor(cursor.take(2 * cursor.short()))
    symbols = bytearray()
    for row in of_rows:
        for column in of_columns:
            turn = len(symbols) & 3
            state = states[turn]
            symbol, frequency, place = contexts[row * kinds[1] + column][state & ((1 << b) - 1)]
            state = frequency * (state >> b) + place
            if state < 65536:
                state = state << 16 | words.number(2)
            states[turn] = state
            symbols.append(symbol)
    words.end()
    check(states == [65536] * 4, "a plane is broken")
    return symbols


def read_kinds(cursor: Cursor, count: int, kinds: int) -> Iterator[int]:
    """Returns the kinds of all rows or columns."""
    width = (kinds - 1).bit_length()
    data = cursor.take((count * width + 7) // 8)
    bits = [byte >> bit & 1 for byte in data for bit in range(7, -1, -1)]
    for i in range(count):
        kind = sum(bit << j for j, bit in enumerate(bits[i * width : (i + 1) * width]))
        check(kind < kinds, "no such kind")
        yield kind
