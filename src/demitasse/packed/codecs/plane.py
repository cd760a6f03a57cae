"""One plane of a large tensor: a byte for each entry of a matrix, coded with fixed probabilities or stored as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import FileFormatError
from demitasse.packed.kernels.rans import LEAST, STATES, SYMBOLS, decode, encode, spread
from demitasse.packed.reader import ByteReader, short
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import Bits, matrix

# bits of a frequency: more for rare symbols, fewer for a table that stays in the cache
_PRECISIONS = (12, 14)
# the most kinds of rows, and of columns
_MOST_KINDS = 8
_KINDS = ((1, 1), (8, 1), (1, 8), (4, 4), (8, 8))
# bytes that decoding needs in addition to the plane: tables and frequencies
_TABLES = (8 << _PRECISIONS[-1]) * _MOST_KINDS**2 + 2 * 8 * SYMBOLS * _MOST_KINDS**2
_ONE = np.zeros(1, np.uint8)


class Plane(NamedTuple):
    """Bytes, row by row."""

    values: Array
    rows: int
    columns: int


class _Model(NamedTuple):
    """The kinds of rows and columns, which choose a context, and the frequencies of each context."""

    bits: int
    kinds: tuple[int, int]
    of_row: Array
    of_column: Array
    frequencies: Array

    def pack(self) -> bytes:
        out = bytes([self.bits, *self.kinds]) + _pack_kinds(self.of_row, self.kinds[0])
        out += _pack_kinds(self.of_column, self.kinds[1])
        for row in self.frequencies:
            used = len(np.trim_zeros(row, "b"))
            out += short(used - 1, *row[:used].tolist())
        return out


def work_of(shape: tuple[int, ...]) -> int:
    """Returns the most bytes of memory that decoding needs in addition to the plane."""
    return _TABLES + 9 * sum(matrix(shape))


def pack_plane(plane: Plane) -> bytes:
    """Returns the bytes of a plane."""
    raw = b"\0" + plane.values.tobytes()
    if not len(plane.values):
        return raw
    model = min(_models(plane), key=lambda found: found[0])[1]
    words, states = np.zeros(len(plane.values), np.uint16), np.zeros(STATES, np.int64)
    # with one kind of rows, or of columns, the coder does not need to know where a row ends
    of_column = model.of_column if len(model.of_column) > 1 else np.zeros(plane.columns, np.uint8)
    of_row = model.of_row if len(model.of_row) > 1 else np.zeros(plane.rows, np.uint8)
    first = encode(plane.values, model.frequencies, model.bits, of_row, of_column, model.kinds[1], words, states)
    coded = b"\1" + model.pack() + states.astype("<u4").tobytes() + short(len(words) - first)
    coded += words[first:].astype("<u2").tobytes()
    return min(raw, coded, key=len)


def unpack_plane(data: ByteReader, rows: int, columns: int, values: Bits, out: Bits, stream: Stream) -> None:
    """Reads what :func:`pack_plane` wrote.

    Args:
        data: a reader at the start of the plane.
        rows: number of rows of the matrix.
        columns: number of columns of the matrix.
        values: (256,), the value of each byte.
        out: (rows * columns,), filled with values, row by row.
        stream: the stream of the data, which divides the work into pieces.

    Raises:
        FileFormatError: the data is not a plane of this size.
    """
    if not data.number(1, "kind of a plane"):
        out[:] = values[data.array("u1", len(out), "plane")]
        return
    model = _read_model(data, rows, columns)
    states = data.array("<u4", STATES, "states").astype(np.int64)
    start = data.offset
    words = data.array("<u2", data.number(len(out), "words"), "words").astype(np.uint16, copy=False)
    model_of = model.frequencies, spread(model.frequencies, model.bits), model.bits, model.of_row, model.of_column
    place = np.zeros(1, np.int64)
    for begin, end in stream.pieces(len(out)):
        decode(words, *model_of, model.kinds[1], states, place, values, begin, end, out)
    if place[0] != len(words) or (states != LEAST).any():
        raise FileFormatError(f"byte {start}: the words of the plane do not end with its values")


def _read_model(data: ByteReader, rows: int, columns: int) -> _Model:
    start = data.offset
    bits, of_rows, of_columns = data.array("u1", 3, "model of a plane").tolist()
    if bits not in _PRECISIONS or not (0 < of_rows <= _MOST_KINDS and 0 < of_columns <= _MOST_KINDS):
        raise FileFormatError(
            f"byte {start}: found {bits} bits, {of_rows} kinds of rows and {of_columns} of columns; expected 12 or 14 "
            f"bits, and 1 to {_MOST_KINDS} kinds"
        )
    of_row, of_column = _read_kinds(data, rows, of_rows), _read_kinds(data, columns, of_columns)
    if of_rows > 1 and of_columns == 1:
        of_column = np.zeros(columns, np.uint8)
    frequencies = np.zeros((of_rows * of_columns, SYMBOLS), np.int64)
    for row in frequencies:
        at = data.offset
        for symbol in range(data.number(SYMBOLS - 1, "symbols") + 1):
            row[symbol] = data.number(1 << bits, "frequency")
        if row.sum() != 1 << bits:
            raise FileFormatError(f"byte {at}: frequencies add up to {row.sum()}, expected {1 << bits}")
    return _Model(bits, (of_rows, of_columns), of_row, of_column, frequencies)


def _width(kinds: int) -> int:
    return (kinds - 1).bit_length()


def _pack_kinds(of: Array, kinds: int) -> bytes:
    width = _width(kinds)
    return np.packbits(of[:, None] >> np.arange(width) & 1).tobytes() if width else b""


def _read_kinds(data: ByteReader, count: int, kinds: int) -> Array:
    width, start = _width(kinds), data.offset
    if not width:
        return _ONE
    packed = data.array("u1", (count * width + 7) // 8, "kinds")
    of = np.unpackbits(packed, count=count * width).reshape(count, width) @ (1 << np.arange(width, dtype=np.uint8))
    if of.max(initial=0) >= kinds:
        raise FileFormatError(f"byte {start}: found kind {of.max()}, expected less than {kinds}")
    return of


def _models(plane: Plane) -> Iterator[tuple[float, _Model]]:
    """Yields the models to try, each with the number of bytes it needs."""
    values = plane.values.reshape(plane.rows, plane.columns)
    worth = _worth(plane.values)[values] if min(values.shape) > 1 else None
    of_row = _ONE if worth is None else _grouped(worth.sum(axis=1))
    of_column = _ONE if worth is None else _grouped(worth.sum(axis=0))
    most = (1, 1) if worth is None else (_MOST_KINDS, _MOST_KINDS)
    context = of_row[:, None].astype(np.int64) * (SYMBOLS * most[1]) + of_column.astype(np.int64) * SYMBOLS
    counts = np.bincount((context + values).reshape(-1), minlength=SYMBOLS * most[0] * most[1])
    counts = counts.reshape(*most, SYMBOLS)
    for kinds in _KINDS if worth is not None else _KINDS[:1]:
        merged = counts.reshape(kinds[0], most[0] // kinds[0], kinds[1], most[1] // kinds[1], SYMBOLS).sum(axis=(1, 3))
        merged = merged.reshape(-1, SYMBOLS)
        rows, columns = (_merged(of, most[i], kinds[i]) for i, of in enumerate((of_row, of_column)))
        for bits in _PRECISIONS:
            frequencies = _frequencies(merged, bits)
            model = _Model(bits, kinds, rows, columns, frequencies)
            used = merged > 0
            cost = float((merged[used] * (bits - np.log2(frequencies[used]))).sum()) / 8
            yield cost + len(model.pack()), model


def _merged(of: Array, most: int, kinds: int) -> Array:
    return _ONE if kinds == 1 else of // np.uint8(most // kinds)


def _worth(values: Array) -> Array:
    """Returns the weight of each byte in the scores that group rows and columns: rare bytes weigh more.

    The weights are whole numbers, so that their sums are the same on every machine.
    """
    counts = np.bincount(values, minlength=SYMBOLS)
    worth: Array = np.rint(64 * np.log2((len(values) + SYMBOLS) / (counts + 1))).astype(np.int32)
    return worth


def _grouped(scores: Array) -> Array:
    """Returns the kind of each row or column; all kinds have equally many."""
    ranks = np.empty(len(scores), np.int64)
    ranks[np.argsort(scores, kind="stable")] = np.arange(len(scores))
    return (ranks * _MOST_KINDS // len(scores)).astype(np.uint8)


def _frequencies(counts: Array, bits: int) -> Array:
    """Returns frequencies close to the counts, at least 1 for symbols that occur; each row adds up to 2^bits."""
    used = counts > 0
    used[:, 0] |= ~used.any(axis=1)
    left = (1 << bits) - used.sum(axis=1, keepdims=True)
    found: Array = used + counts * left // np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = np.arange(len(found))
    found[rows, found.argmax(axis=1)] += (1 << bits) - found.sum(axis=1)
    return found
