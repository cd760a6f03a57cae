"""Finds the nonzero values of a matrix, and transposes matrices of which only these are kept.

An entry is the distance from the entry before it in its line, at most 255, and the number or the bits of its value.
Longer distances are bridged by entries of value 0, whose number and bits are 0.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import numpy as np

from demitasse.loops import njit
from demitasse.packed.kernels.distinct import slot_of

LARGEST_GAP = 255
# where the next value of a matrix is: its row, its column, and the column of the last entry
STATE = 3
ROW, COLUMN, LAST = range(STATE)


@njit()
def entries(values, sign, columns, state, counts, gaps, found):
    """Appends the entries of the next values of a matrix, row by row; returns their number.

    Args:
        values: the bits of values, unsigned integers.
        sign: the bit of a value that does not count: a negative zero is a zero.
        columns: number of columns of the matrix.
        state: (STATE,), where the values begin; updated.
        counts: (rows,), the number of entries of each row; updated.
        gaps: filled.
        found: filled with the bits of the entries' values.
    """
    row, column, last = state[ROW], state[COLUMN], state[LAST]
    at = 0
    for value in values:
        if value & ~sign:
            before = at
            while column - last > LARGEST_GAP:
                gaps[at], found[at] = LARGEST_GAP, 0
                last += LARGEST_GAP
                at += 1
            gaps[at], found[at] = column - last, value
            last = column
            at += 1
            counts[row] += at - before
        column += 1
        if column == columns:
            row, column, last = row + 1, 0, 0
    state[ROW], state[COLUMN], state[LAST] = row, column, last
    return at


@njit()
def number(values, keys, numbers, known, count, codes):
    """Fills in the number of each value among the known ones, to which new ones are added as long as there is room.

    Args:
        values: bits of values.
        keys: (SIZE,), the hash table's values; updated.
        numbers: (SIZE,) int64, their numbers, -1 where there is none; updated.
        known: the values by number; filled.
        count: how many are known.
        codes: filled.

    Returns:
        How many are known now; -1 if there is no room for all.
    """
    for i in range(len(values)):
        at = slot_of(keys, numbers, values[i])
        if numbers[at] < 0:
            if count == len(known):
                return -1
            keys[at], numbers[at], known[count] = values[i], count, values[i]
            count += 1
        codes[i] = numbers[at]
    return count


@njit()
def lines_of_transpose(starts, gaps, values, blocks, to, counts):
    """Counts the entries of the lines of a matrix whose blocks of lines are transposed one by one.

    Args:
        starts: (lines + 1,), where each line begins.
        gaps: of the entries.
        values: numbers or bits of the entries' values; 0 for the value 0.
        blocks: (blocks + 1,), the first line of each block, and the number of all lines.
        to: (blocks,), the line of the result where each block begins.
        counts: (lines of the result,) int64, zeros; filled.
    """
    last = np.zeros(len(counts), np.int64)
    for block in range(len(to)):
        for line in range(blocks[block], blocks[block + 1]):
            position = to[block]
            place = line - blocks[block]
            for entry in range(starts[line], starts[line + 1]):
                position += gaps[entry]
                if values[entry]:
                    counts[position] += max(place - last[position] - 1, 0) // LARGEST_GAP + 1
                    last[position] = place


@njit()
def transpose(starts, gaps, values, blocks, to, ends, last, new_gaps, new_values):
    """Fills in the entries that :func:`lines_of_transpose` counted.

    Args:
        starts: see :func:`lines_of_transpose`.
        gaps: see :func:`lines_of_transpose`.
        values: see :func:`lines_of_transpose`.
        blocks: see :func:`lines_of_transpose`.
        to: see :func:`lines_of_transpose`.
        ends: (lines of the result,) int64, where each line begins; where it ends, afterwards.
        last: (lines of the result,) int64, zeros; changed.
        new_gaps: filled.
        new_values: filled.
    """
    for block in range(len(to)):
        for line in range(blocks[block], blocks[block + 1]):
            position = to[block]
            place = line - blocks[block]
            for entry in range(starts[line], starts[line + 1]):
                position += gaps[entry]
                if values[entry]:
                    at = ends[position]
                    gap = place - last[position]
                    while gap > LARGEST_GAP:
                        new_gaps[at], new_values[at] = LARGEST_GAP, 0
                        gap -= LARGEST_GAP
                        at += 1
                    new_gaps[at], new_values[at] = gap, values[entry]
                    ends[position], last[position] = at + 1, place
