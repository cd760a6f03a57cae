"""Asymmetric numeral systems: symbols of fixed probabilities, in four streams that take turns.

Reference: Duda 2013, Asymmetric numeral systems: entropy coding combining speed of Huffman coding with compression
rate of arithmetic coding (arXiv 1311.2540); Giesen 2014, Interleaved entropy coders (arXiv 1402.3392).
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import numpy as np

from demitasse.loops import njit

# a state is at least so much, and less than 65536 times as much: one word of 16 bits fills it up
LEAST = 1 << 16
STATES = 4
SYMBOLS = 256


@njit()
def encode(symbols, frequencies, bits, of_row, of_column, kinds, words, states):
    """Writes symbols, the last one first, and fills ``words`` from its end.

    Args:
        symbols: of a matrix, row by row.
        frequencies: contexts x SYMBOLS; those of a context add up to 2^bits.
        bits: of a frequency.
        of_row: kind of each row.
        of_column: kind of each column; the context is kind of row * kinds + kind of column.
        kinds: of columns.
        words: filled; at least as many as symbols.
        states: filled with the four states that decoding starts from.

    Returns:
        The place of the first word.
    """
    starts = np.zeros_like(frequencies)
    for context in range(len(frequencies)):
        for symbol in range(1, SYMBOLS):
            starts[context, symbol] = starts[context, symbol - 1] + frequencies[context, symbol - 1]
    states[:] = LEAST
    columns = len(of_column)
    position, row, column = len(words), len(of_row) - 1, columns - 1
    for i in range(len(symbols) - 1, -1, -1):
        context = of_row[row] * kinds + of_column[column]
        frequency = frequencies[context, symbols[i]]
        state = states[i & (STATES - 1)]
        if state >= frequency << (32 - bits):
            position -= 1
            words[position] = state & 0xFFFF
            state >>= 16
        states[i & (STATES - 1)] = (state // frequency << bits) + state % frequency + starts[context, symbols[i]]
        column -= 1
        if column < 0:
            row, column = row - 1, columns - 1
    return position


@njit()
def spread(frequencies, bits):
    """Returns what every number below 2^bits stands for, by context: frequency, place among the symbol's, symbol."""
    table = np.zeros(len(frequencies) << bits, np.int64)
    at = 0
    for context in range(len(frequencies)):
        for symbol in range(SYMBOLS):
            frequency = frequencies[context, symbol]
            for place in range(frequency):
                table[at] = frequency << (bits + 8) | place << 8 | symbol
                at += 1
    return table


@njit()
def decode(words, frequencies, table, bits, of_row, of_column, kinds, states, place, values, begin, end, out):
    """Reads the symbols ``begin:end`` of what :func:`encode` wrote.

    Args:
        words: of 16 bits.
        frequencies: as they were written.
        table: what :func:`spread` makes of them.
        bits: of a frequency.
        of_row: kind of each row.
        of_column: kind of each column.
        kinds: of columns.
        states: to start from; filled with those where it ends. After the last symbol they are LEAST, all of them.
        place: one number, the words taken so far. After the last symbol these are all.
        values: of the SYMBOLS.
        begin: of the symbols; a multiple of STATES.
        end: of the symbols; so is this, unless it is that of all.
        out: filled with values.
    """
    # most weights of a pruned net are zero: they do without the table
    zeros, zero = frequencies[:, 0].copy(), values[0]
    mask = (1 << bits) - 1
    a, b, c, d = states[0], states[1], states[2], states[3]
    columns, left = len(of_column), len(words)
    position = place[0]
    row = begin // columns
    column = begin - row * columns
    first = of_row[min(row, len(of_row) - 1)] * kinds
    for i in range(begin, end):
        context = first + of_column[column]
        slot = a & mask
        if slot < zeros[context]:
            a = zeros[context] * (a >> bits) + slot
            out[i] = zero
        else:
            told = table[(context << bits) + slot]
            a = (told >> (bits + 8)) * (a >> bits) + (told >> 8 & mask)
            out[i] = values[told & 255]
        if a < LEAST:
            a = a << 16 | (np.int64(words[position]) if position < left else 0)
            position += 1
        a, b, c, d = b, c, d, a
        column += 1
        if column == columns:
            row, column = row + 1, 0
            if row < len(of_row):
                first = of_row[row] * kinds
    states[0], states[1], states[2], states[3] = a, b, c, d
    place[0] = position


@njit()
def turn(values, by):
    """Turns the bits of unsigned integers left by so many, in place."""
    left = values.dtype.type(by)
    right = values.dtype.type(8 * values.itemsize - by)
    for i in range(len(values)):
        values[i] = values[i] << left | values[i] >> right
