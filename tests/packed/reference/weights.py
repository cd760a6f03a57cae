"""The model of weights."""

from __future__ import annotations

from collections.abc import Sequence

from tests.packed.reference.arithmetic import Decoder
from tests.packed.reference.cursor import check
from tests.packed.reference.entry import Entry, matrix
from tests.packed.reference.mixing import LOGIT, Mixer, clip, log, squash


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
            if present and entry.kind != 2:
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
        base = LOGIT[first >> 16] if first else 0
        return self.mixer.decide(decoder, numbers, weights, base, 2831 * 1250 // (1250 + self.F))
