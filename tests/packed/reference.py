"""A reader of .demi files in plain Python, written from docs/format.md alone: the page, executable.

It says the same as the page, paragraph by paragraph, and takes whatever time and memory that takes.
"""

from __future__ import annotations

import math
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import cache
from itertools import accumulate, product
from operator import mul
from pathlib import Path

# name, bytes, bits of the mantissa (-1: an integer)
TYPES = [
    ("float32", 4, 23), ("float16", 2, 10), ("bfloat16", 2, 7), ("float64", 8, 52),
    ("int8", 1, -1), ("uint8", 1, -1), ("int16", 2, -1), ("uint16", 2, -1), ("int32", 4, -1),
    ("uint32", 4, -1), ("int64", 8, -1), ("uint64", 8, -1), ("bool", 1, -1),
    ("float8_e4m3fn", 1, 3), ("float8_e5m2", 1, 2),
]  # fmt: skip
Type = tuple[str, int, int]
Found = tuple[str, str, tuple[int, ...], list[int]]


def check(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


class Cursor:
    """Bytes, read from the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, count: int) -> bytes:
        check(count <= len(self.data) - self.place, "it ends too early")
        self.place += count
        return self.data[self.place - count : self.place]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def short(self, most: int = (1 << 63) - 1) -> int:
        value = shift = 0
        while (byte := self.number(1)) >= 128:
            value |= (byte - 128) << shift
            shift += 7
            check(shift < 63, "a short is too long")
        check(byte > 0 or shift == 0, "a short is not in its shortest form")
        value |= byte << shift
        check(value <= most, "a number is too large")
        return value

    def text(self) -> str:
        """What stands before the next zero byte."""
        end = self.data.find(0, self.place)
        check(end >= 0, "a name does not end")
        text = self.take(end - self.place).decode()
        self.place += 1
        return text

    def end(self) -> None:
        check(self.place == len(self.data), "more bytes than expected")


# The file


def decode(data: bytes) -> tuple[dict[str, str], list[Found]]:
    """Reads a file.

    Returns:
        The metadata; and name, type, shape, and the bits of all values, of each tensor, then of each other name.

    Raises:
        ValueError: the page says that this is an error.
    """
    file = Cursor(data)
    check(file.take(4) == b"demi", "not a .demi file")
    check(file.short() == 1, "not version 1")
    plain, coded = file.short(1 << 28), file.short(1 << 28)
    start = data[: file.place]
    checksum, packed = file.number(4), file.take(coded)
    header = decode_header(Decoder(packed), plain)
    check(zlib.crc32(start + packed + header) == checksum, "the header is broken")
    metadata, entries, others, payloads = read_header(Cursor(header))

    found: list[Found] = []
    rest = iter(payloads)
    decoder, units = Decoder(b""), list[int]()
    for i, entry in enumerate(entries):
        if entry.codec == 3:
            bits = []
            for shape in entry.parts():
                length, expected = next(rest)
                payload = file.take(length)
                part = decode_planes(payload, entry, shape)
                check(zlib.crc32(payload + entry.stored(part)) == expected, "a payload is broken")
                bits += part
        else:
            if entry.begins:
                length, expected = next(rest)
                payload = file.take(length)
                decoder, units, now = Decoder(payload), [], zlib.crc32(payload)
            bits, units = decode_coded(decoder, entry, units)
            now = zlib.crc32(entry.stored(bits), now)
            if i + 1 == len(entries) or entries[i + 1].begins:
                check(now == expected, "a payload is broken")
        found.append((entry.name, entry.type[0], entry.shape, bits))
    file.end()
    return metadata, found + [(name, *found[meant][1:]) for name, meant in others]


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


Header = tuple[dict[str, str], list[Entry], list[tuple[str, int]], list[tuple[int, int]]]


def read_header(header: Cursor) -> Header:
    """Returns metadata, tensors, other names with the tensor's number, and the payloads' lengths and checksums."""
    pieces, aliases, tensors = (header.short(1 << 20) for _ in range(3))
    metadata = {}
    for _ in range(pieces):
        key = header.text()
        check(key not in metadata, f"two pieces of metadata are called {key!r}")
        metadata[key] = header.take(header.short()).decode()
    names = [header.text() for _ in range(tensors + aliases)]
    check(len(set(names)) == len(names), "two names are the same")
    others = [(name, header.short()) for name in names[tensors:]]
    check(all(meant < tensors for _, meant in others), "another name for no tensor")

    entries = [Entry() for _ in range(tensors)]
    for entry, name, number in zip(entries, names, header.take(tensors), strict=False):
        check(number < len(TYPES), "no such type")
        entry.name, entry.type = name, TYPES[number]
    after_planes = True
    for entry, number in zip(entries, header.take(tensors), strict=True):
        check(number < 16, "no such codec")
        entry.codec, entry.cut, entry.begins = number >> 2, bool(number & 2), bool(number & 1)
        check(entry.codec == 3 or not entry.cut, "only codec 3 cuts")
        check(entry.begins or not (entry.codec == 3 or after_planes), "a tensor does not begin a payload")
        after_planes = entry.codec == 3
    dimensions = header.take(tensors)
    for entry, count in zip(entries, dimensions, strict=True):
        check(count <= 32, "too many dimensions")
        entry.shape = tuple(header.short() for _ in range(count))
        check(math.prod(max(size, 1) for size in entry.shape) <= 1 << 48, "too many values")
    for entry in entries:
        if entry.codec >= 2:
            read_settings(header, entry)
    count = sum(len(entry.parts()) if entry.codec == 3 else entry.begins for entry in entries)
    lengths = [header.short(1 << 48) for _ in range(count)]
    checksums = [header.number(4) for _ in range(count)]
    header.end()
    return metadata, entries, others, list(zip(lengths, checksums, strict=True))


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
        check(entry.kind == 2 or (few and not entry.zeros), "too many values, or zeros apart")
        return
    if flags & 16:
        entry.group, entry.side = header.short(), header.short()
    elif len(entry.shape) > 2:
        entry.group, entry.side = math.prod(entry.shape[2:]), entry.shape[-1]
    rows, columns = matrix(entry.shape)
    check(0 < entry.size < 1 << 31 and rows + columns <= max(1 << 14, entry.size >> 4), "not a matrix of weights")
    check(entry.group > 0 and columns % entry.group == 0, "the group does not divide the columns")
    check(0 < entry.side <= entry.group, "the side is not within the group")


def decode_coded(decoder: Decoder, entry: Entry, units: list[int]) -> tuple[list[int], list[int]]:
    """Returns the values of a tensor of codec 0, 1 or 2, and the counts that the next can be linked to."""
    width = entry.type[1]
    if entry.codec == 0:
        return [0] * entry.size, units
    if entry.codec == 1:
        return decode_numbers(decoder, entry.size, width), units
    columns = matrix(entry.shape)[1]
    symbols, counts = decode_matrix(decoder, entry, units)
    if columns > 1:
        units = counts
    if entry.kind < 2:
        return entry.values(symbols), units
    numbers = iter(decode_numbers(decoder, sum(counts), width))
    return [next(numbers) if symbol else 0 for symbol in symbols], units


# Arithmetic coding


class Decoder:
    """A stream of binary decisions."""

    def __init__(self, data: bytes) -> None:
        self.data, self.range = iter(data), (1 << 32) - 1
        self.code = int.from_bytes(bytes(next(self.data, 0) for _ in range(4)), "big")

    def decide(self, p: int) -> int:
        bound = (self.range >> 16) * p
        bit = int(self.code < bound)
        if bit:
            self.range = bound
        else:
            self.code, self.range = self.code - bound, self.range - bound
        while self.range < 1 << 24:
            self.range, self.code = self.range << 8, self.code << 8 | next(self.data, 0)
        return bit


class Known:
    """Bits that are known: what is only learnt from."""

    def __init__(self, data: bytes) -> None:
        self.bits = (byte >> bit & 1 for byte in data for bit in range(7, -1, -1))

    def decide(self, p: int) -> int:
        return next(self.bits)


# Mixing

_ONE = 1 << 64
_TERMS = list(accumulate(range(1, 12), lambda term, i: term // (1024 * i), initial=_ONE))
_E = list(accumulate(range(12288), lambda e, _: e * sum(_TERMS) >> 64, initial=_ONE))


def clip(x: int, least: int, most: int) -> int:
    return max(least, min(x, most))


_UPPER = [clip(((e << 16 << 65) // (e + _ONE) + _ONE) >> 65, 1, 65535) for e in _E]
_SQUASH = [clip(65536 - p, 1, 65535) for p in _UPPER[:0:-1]] + _UPPER
_LOGIT = [
    clip((bisect_left(_SQUASH, p) + bisect_right(_SQUASH, p)) // 2, 0, 24576) - 12288 for p in (1, *range(1, 65536))
]
_LOG = [bisect_left(_E, _ONE + _ONE * m // 1024) for m in range(1024)]


def squash(x: int) -> int:
    return _SQUASH[clip(x, -12288, 12288) + 12288]


def log(x: int) -> int:
    b = x.bit_length() - 1
    f = x >> (b - 10) if b >= 10 else x << (10 - b)
    return _LOG[f - 1024] + (b * 726817 >> 10)


class Mixer:
    """The slots of the contexts, by number."""

    def __init__(self, contexts: int, ease: int, limit: int) -> None:
        self.slots: list[dict[int, int]] = [{} for _ in range(contexts)]
        self.limit, self.rates = limit, [131072 // (2 * (n + ease) + 3) for n in range(limit + 1)]

    def slot(self, context: int, number: int) -> int:
        return self.slots[context].get(number, 0)

    def decide(
        self,
        decoder: Decoder | Known,
        numbers: Sequence[int],
        weights: list[int],
        base: int,
        pace: int,
        more: Sequence[int] = (),
    ) -> int:
        """Decodes a decision, of which each context has the slot of a number, and learns from it."""
        fresh = squash(base) << 16
        slots = [table.get(number, fresh) for table, number in zip(self.slots, numbers, strict=True)]
        inputs = [_LOGIT[slot >> 16] - base for slot in slots]
        inputs += more
        p = squash(base + (sum(map(mul, weights, inputs)) >> 16))
        bit = decoder.decide(p)
        error = ((bit << 16) - p) * pace
        weights[:] = [weight + ((error * x + (1 << 29)) >> 30) for weight, x in zip(weights, inputs, strict=True)]
        for table, number, slot in zip(self.slots, numbers, slots, strict=True):
            n, probability = slot & 1023, slot >> 10
            probability += ((bit << 22) - probability) * self.rates[n] >> 16
            table[number] = probability << 10 | min(n + 1, self.limit)
        return bit


# The model of bytes

PAGE = (Path(__file__).parents[2] / "docs/format.md").read_text(encoding="utf-8")
_WRITTEN = PAGE.split("The primer, in")[1].split("```text")[1].split("```")[0].replace("\n", "")
PRIMER = _WRITTEN.encode().decode("unicode_escape").encode("latin-1")


class Bytes:
    """The model, and the bytes so far."""

    def __init__(self, width: int, bits: int) -> None:
        self.width, self.size, self.mixer, self.done = width, 1 << bits, Mixer(7, ease=0, limit=250), bytearray()
        self.rows = [[13107, 16384, 19661, 19661, 19661, 6554, 13107] for _ in range(5)]

    def decode(self, source: Decoder | Known, count: int) -> bytes:
        for _ in range(count):
            self.done.append(self.byte(source))
        return bytes(self.done[len(self.done) - count :])

    def byte(self, source: Decoder | Known) -> int:
        before = bytes(8) + self.done[-8:]
        place, same, (b4, b3, b2, b1) = len(self.done) % self.width, before[-self.width], before[-4:]
        two = b1 + 256 * b2
        three = two + 65536 * b3
        four = three + (b4 << 24)
        contexts = [place, *(place + 8 * (c + 1) for c in (b1, two, three, four, same, same + 256 * b1))]
        node = 1
        while node < 256:
            hashes = [((c << 8 | node) * 2654435761) & 0xFFFFFFFF for c in contexts]
            numbers = [(m ^ m >> 15) % self.size for m in hashes]
            row = max((j for j in range(5) if self.mixer.slot(j, numbers[j])), default=0)
            node = 2 * node + self.mixer.decide(source, numbers, self.rows[row], 0, 4194)
        return node & 255


def bits_of(every: int) -> int:
    return clip(every.bit_length() + 3, 10, 20)


@cache
def primed(bits: int) -> Bytes:
    """Returns the model that has learnt the primer."""
    model = Bytes(1, bits)
    model.decode(Known(PRIMER), len(PRIMER))
    return model


def decode_header(decoder: Decoder, count: int) -> bytes:
    return deepcopy(primed(bits_of(len(PRIMER) + count))).decode(decoder, count)


def decode_numbers(decoder: Decoder, count: int, width: int) -> list[int]:
    data = Bytes(width, bits_of(count * width)).decode(decoder, count * width)
    return [int.from_bytes(data[i : i + width], "big") for i in range(0, len(data), width)]


# The model of weights


def decode_matrix(decoder: Decoder, entry: Entry, units: list[int]) -> tuple[list[int], list[int]]:
    """Returns the symbols (1 for those of kind 2 that are not zero), and of each row how many are not zero."""
    rows, columns = matrix(entry.shape)
    unit = [0] * columns
    if entry.linked:
        check(bool(units) and columns % len(units) == 0, "a matrix is linked to none that fits")
        everywhere = log(2 * sum(units) + len(units)) - log(len(units))
        unit = [log(2 * units[c // (columns // len(units))] + 1) - everywhere for c in range(columns)]
    presence, number = Presence(entry, columns, unit), Numbers(entry, columns)
    symbols, counts = [], []
    above = [0] * columns
    for r in range(rows):
        row: list[int] = []
        presence.begin()
        for c in range(columns):
            present = presence.decode(decoder, r, c, row, above) if entry.zeros else 1
            symbol = present
            if present and entry.kind < 2:
                symbol = 1 + number.decode(decoder, r, c, row)
            row.append(symbol)
        symbols += row
        counts.append(columns - row.count(0))
        above = row
    return symbols, counts


def beside(entry: Entry, c: int, right: int, down: int) -> int | None:
    """Returns the column so many steps away in the same kernel, if there is one."""
    place = c % entry.group
    there = place + right + down * entry.side
    inside = 0 <= place % entry.side + right < entry.side and 0 <= there < entry.group
    return c - place + there if inside else None


def symbol_beside(entry: Entry, row: Sequence[int], c: int, right: int, down: int) -> int:
    """Returns the symbol there, 0 if there is none."""
    there = beside(entry, c, right, down)
    return 0 if there is None else row[there]


def excess(n: int, e: int, a: int) -> int:
    return log(n * 65536 + a) - log(e + a)


def level(x: int) -> int:
    return clip(8 + ((x * 2954 + (1 << 19)) >> 20), 0, 15)


def step(n: int) -> int:
    k = max(0, n.bit_length() - 2)
    return min(2 * k + (n >> k), 15)


PRESENCE = [
    -21561, -5571, -4456, -328, -4719, 14549, 5308, 8192, 6685, -1638, 3604, 5636, 1114, 459,
    44958, 24445, 25559, 7602, 49611, 29950, 63177,
]  # fmt: skip
SIGNS = [-20840, -9634, -6423, -6554, 6423, 4915, 6947, 70451, 16253, -1114]
BITS = [-3080, 6226, -1311, 786, 1966, 6357, 1573, 18940, 8651, 23986]
NEAR = ((-1, 0), (1, 0), (0, -1), (0, 1))
PATTERN = ((-1, 0), (0, -1), (-1, -1), (1, -1))


class Presence:
    """Is it zero?"""

    def __init__(self, entry: Entry, columns: int, unit: list[int]) -> None:
        self.entry, self.mixer = entry, Mixer(14, ease=5, limit=1000)
        self.weights, self.unit = [list(PRESENCE) for _ in range(3)], unit
        self.i = self.F = 0
        self.C, self.c, self.history = [0] * columns, [0] * columns, [0] * columns
        self.H, self.h = [0] * (columns // entry.group), [0] * (columns // entry.group)
        self.P, self.p = [0] * entry.group, [0] * entry.group

    def begin(self) -> None:
        """Begins a row."""
        self.R = self.r = 0

    def decode(self, decoder: Decoder, row_number: int, c: int, now: list[int], above_row: list[int]) -> int:
        entry, group = self.entry, self.entry.group
        ch, place = divmod(c, group)
        if place == 0:
            self.N = 0
        base = log(self.F * 65536 + 32768) - log((self.i - self.F) * 65536 + 648806)
        row, column = excess(self.R, self.r, 37683), excess(self.C[c], self.c[c], 445000)
        channel = at = around = 0
        if group > 1:
            channel, at = excess(self.H[ch], self.h[ch], 131500), excess(self.P[place], self.p[place], 826800)
            near = [there for there in (beside(entry, c, *by) for by in NEAR) if there is not None]
            around = excess(sum(self.C[there] for there in near), sum(self.c[there] for there in near), 3000)
        both, few = level(column + channel), min(self.N, 3)
        pattern = sum((symbol_beside(entry, now, c, *by) > 0) << bit for bit, by in enumerate(PATTERN))
        close = (c > 0 and now[c - 1] > 0) + 2 * (c > 1 and now[c - 2] > 0) + 4 * (above_row[c] > 0)
        before = c >= group and now[c - group] > 0
        numbers = [
            0,
            row_number,
            c,
            16 * level(row) + both,
            16 * level(column) + level(channel),
            16 * (pattern + 16 * before) + level(row),
            16 * (close + 8 * before) + both,
            16 * level(self.unit[c]) + both,
            16 * step(self.C[c]) + step(self.R),
            self.history[c],
            4 * place + few,
            ch,
            256 * few + 16 * level(row) + level(channel),
            8 * row_number + 2 * few + (place > 0),
        ]
        weights = self.weights[min(self.N, 2) if group > 1 else 0]
        pace = 734 + 7025 * 127 // (127 + self.F)
        more = (row, column, channel, at, self.unit[c], around, 307)
        bit = self.mixer.decide(decoder, numbers, weights, base, pace, more)

        expected = squash(base + row + channel)
        self.r += squash(base + column + channel)
        self.c[c] += expected
        self.h[ch] += squash(base + row + at)
        self.p[place] += expected
        self.i, self.F, self.R, self.N = self.i + 1, self.F + bit, self.R + bit, self.N + bit
        self.C[c] += bit
        self.H[ch] += bit
        self.P[place] += bit
        self.history[c] = (2 * self.history[c] + bit) & 255
        return bit


class Numbers:
    """What is it?"""

    def __init__(self, entry: Entry, columns: int) -> None:
        self.entry, self.mixer, self.F = entry, Mixer(10, ease=0, limit=116), 0
        self.signs, self.bits = list(SIGNS), list(BITS)
        self.last, self.same, self.like = 0, [0] * columns, [0] * (columns // entry.group)

    def decode(self, decoder: Decoder, row: int, c: int, now: list[int]) -> int:
        entry = self.entry
        ch, place = divmod(c, entry.group)
        left, above = symbol_beside(entry, now, c, -1, 0), symbol_beside(entry, now, c, 0, -1)
        symbols = (self.last, self.same[c], self.like[ch], left, above)
        where, sign, node = (row, c, ch, place), 0, 1
        if entry.signed:
            told = [1 + (symbol - 1 & 1) if symbol else 0 for symbol in symbols]
            sign = self.bit(decoder, where, told, 0, 0, self.signs)
        shift = entry.signed + max(0, entry.depth - 3)
        told = [1 + (symbol - 1 >> shift) if symbol else 0 for symbol in symbols]
        for _ in range(entry.depth):
            node = 2 * node + self.bit(decoder, where, told, sign, node, self.bits)
        number = node - (1 << entry.depth) << entry.signed | sign
        self.last = self.same[c] = self.like[ch] = 1 + number
        self.F += 1
        return number

    def bit(
        self, decoder: Decoder, where: Sequence[int], told: Sequence[int], sign: int, node: int, weights: list[int]
    ) -> int:
        last, same, like, left, above = told
        kinds = (0, *where, last, same, 10 * left + above, 2 * like + sign, 2 * (left + above) + sign)
        # nodes from 16 on are the same for all kinds
        numbers = [16 * kind + node if node < 16 else -node for kind in kinds]
        first = self.mixer.slot(0, numbers[0])
        base = _LOGIT[first >> 16] if first else 0
        return self.mixer.decide(decoder, numbers, weights, base, 2831 * 1250 // (1250 + self.F))


# Planes


def decode_planes(payload: bytes, entry: Entry, shape: tuple[int, ...]) -> list[int]:
    """Returns the values of a tensor, or of a part."""
    cursor, (_, width, mantissa), (rows, columns) = Cursor(payload), entry.type, matrix(shape)
    if entry.kind < 2:
        bits = entry.values(decode_plane(cursor, rows, columns))
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
