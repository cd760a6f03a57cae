"""Asymmetric numeral systems: symbols of fixed probabilities, in four interleaved streams.

Reference: Duda 2013, Asymmetric numeral systems: entropy coding combining speed of Huffman coding with compression
rate of arithmetic coding (arXiv 1311.2540); Giesen 2014, Interleaved entropy coders (arXiv 1402.3392).
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import numpy as np

from demitasse.loops import njit

# a state is at least LEAST and below 65536 times LEAST, so that one word of 16 bits refills it
LEAST = 1 << 16
STATES = 4
SYMBOLS = 256


@njit()
def encode(symbols, frequencies, bits, of_row, of_column, kinds, words, states):
    """Writes symbols, the last one first, and fills ``words`` from its end.

    Args:
        symbols: (rows * columns,), row by row.
        frequencies: (contexts, SYMBOLS); each row adds up to 2^bits.
        bits: number of bits of a frequency.
        of_row: (rows,), the kind of each row.
        of_column: (columns,), the kind of each column; the context is kind of row * kinds + kind of column.
        kinds: number of kinds of columns.
        words: filled; at least as many as symbols.
        states: filled with the four states that decoding starts from.

    Returns:
        The index of the first word.
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
    """Returns the table for decoding: for each context and slot below 2^bits, (frequency, offset, symbol) packed."""
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
        words: the words of 16 bits.
        frequencies: see :func:`encode`.
        table: the table from :func:`spread`.
        bits: number of bits of a frequency.
        of_row: the kind of each row.
        of_column: the kind of each column.
        kinds: number of kinds of columns.
        states: the four states to start from; updated. After the last symbol all of them are LEAST.
        place: (1,), the number of words read so far; updated. After the last symbol all words are read.
        values: (SYMBOLS,), the value of each symbol.
        begin: the first symbol to read, a multiple of STATES.
        end: the end of the symbols to read, a multiple of STATES or the end of all symbols.
        out: filled with values.
    """
    # most weights of a pruned net are zero, which need no table
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
            slot_entry = table[(context << bits) + slot]
            a = (slot_entry >> (bits + 8)) * (a >> bits) + (slot_entry >> 8 & mask)
            out[i] = values[slot_entry & 255]
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
    """Rotates the bits of unsigned integers left by ``by``, in place."""
    left = values.dtype.type(by)
    right = values.dtype.type(8 * values.itemsize - by)
    for i in range(len(values)):
        values[i] = values[i] << left | values[i] >> right
