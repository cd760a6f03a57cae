"""C that reads the streams of weights: for each form of :mod:`demitasse.export.c_source.streams` a code and a move.

``code`` returns the code of the weight that the cursor is at, and 0 where there is none; ``move`` goes to the next one.
Between them the cursor is moved by one column.
"""

from __future__ import annotations

from typing import NamedTuple

from demitasse.export.c_source.streams import WeightStream


class StreamReader(NamedTuple):
    """How a form is read.

    Attributes:
        functions: their definitions; ``$name`` is the name of the net.
        code: the call that returns a code.
        move: the call that moves on; empty if there is nothing to do.
        has_zeros: whether a code may be 0.
    """

    functions: str
    code: str
    move: str
    has_zeros: bool


CURSOR = """
/* a place in a stream of weights */
typedef struct {
    const uint8_t *next; /* the byte to be read next */
    $index column;       /* of the weight that is read next, from the start of the row */
    uint8_t byte;        /* the byte that was read last, or what is left of it */
    uint8_t left;        /* bits that are left of it */
$value
} ${name}_cursor;
"""

_DENSE = """
/* a code for every weight, two a byte */
static uint8_t ${name}_dense_code(${name}_cursor *at)
{
    if (at->left != 0) {
        at->left = 0;
        return (uint8_t)(at->byte >> 4);
    }
    at->left = 4;
    at->byte = ${NAME}_BYTE(at->next);
    ++at->next;
    return at->byte & 15;
}
"""

_NIBBLES = """
/* a byte for each weight that is not 0: the gap before it, and its code */
static void ${name}_nibbles_move(${name}_cursor *at)
{
    at->byte = ${NAME}_BYTE(at->next);
    ++at->next;
    at->column += at->byte >> 4;
}
"""

_BITS = """
static uint8_t ${name}_bit(${name}_cursor *at)
{
    uint8_t bit;
    if (at->left == 0) {
        at->byte = ${NAME}_BYTE(at->next);
        ++at->next;
        at->left = 8;
    }
    at->left--;
    bit = at->byte >> 7;
    at->byte = (uint8_t)(at->byte << 1);
    return bit;
}

static $index ${name}_bits(${name}_cursor *at, uint8_t count)
{
    $index found = 0;
    while (count != 0) {
        found = ($index)(found << 1) | ${name}_bit(at);
        count--;
    }
    return found;
}

/* for each weight that is not 0 a Rice code of the gap before it, and its code */
static void ${name}_bits_move(${name}_cursor *at, uint8_t shift)
{
    $index gap = 0;
    while (${name}_bit(at)) {
        ++gap;
    }
    at->column += ($index)(gap << shift) | ${name}_bits(at, shift);
}

static uint8_t ${name}_bits_code(${name}_cursor *at, uint8_t width)
{
    return (uint8_t)(1 + ${name}_bits(at, width));
}
"""


def reader(stream: WeightStream, name: str) -> StreamReader:
    """Returns how a stream is read in the net of a name; the cursor is the variable ``at``."""
    if stream.form == "dense":
        return StreamReader(_DENSE, f"{name}_dense_code(&at)", "", True)
    if stream.form == "nibbles":
        return StreamReader(_NIBBLES, "at.byte & 15", f"{name}_nibbles_move(&at);", True)
    code = f"{name}_bits_code(&at, {stream.width})"
    return StreamReader(_BITS, code, f"{name}_bits_move(&at, {stream.shift});", False)
