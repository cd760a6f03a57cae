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
        code: the call that returns a code, or a code less one where none is 0.
        move: the call that moves on; empty if there is nothing to do.
        has_zeros: whether a code may be 0.
        begin: the call before all others; empty if there is nothing to do.
    """

    functions: str
    code: str
    move: str
    has_zeros: bool
    begin: str = ""


CURSOR = """
/* a place in a stream of weights */
typedef struct {
    const uint8_t *next; /* the byte to be read next */
    $index column;       /* of the weight that is read next, from the start of the row */
    uint8_t byte;        /* the byte that was read last, or what is left of it */
    uint8_t left;        /* bits that are left of it */
$value
$coder
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

/* a number by a Rice code: ones, at most so many, behind them a 0 if they are fewer, and the low bits */
static $index ${name}_rice(${name}_cursor *at, $index most, uint8_t shift)
{
    $index found = 0;
    while (found != most && ${name}_bit(at)) {
        ++found;
    }
    for (; shift != 0; shift--) {
        found = ($index)(found << 1) | ${name}_bit(at);
    }
    return found;
}
"""


# members of the cursor; ``$contexts`` is the number of contexts
CODER = """
    uint32_t range;      /* what arithmetic coding keeps */
    uint32_t code;
    uint8_t lowest;      /* bit of the last code */
    uint16_t chances[$contexts]; /* of a 1 in each context, in 1 / 65536 */
"""
CODER_START = ", 0, 0, 0, {0}"

_ADAPTIVE = """
/* begins a stream of decisions; share: the chance of a weight that is not 0, in 1 / 256 */
static void ${name}_adaptive_begin(${name}_cursor *at, uint8_t share)
{
    uint8_t i;
    for (i = 0; i != sizeof at->chances / sizeof at->chances[0]; ++i) {
        at->chances[i] = (uint16_t)((i < 2 ? share : 128u) << 8);
    }
    for (i = 0; i != 4; ++i) {
        at->code = at->code << 8 | ${NAME}_BYTE(at->next);
        ++at->next;
    }
    at->range = 0xFFFFFFFF;
}

/* takes a decision by arithmetic coding; its chance learns from it */
static uint8_t ${name}_decide(${name}_cursor *at, uint8_t context)
{
    uint16_t *chance = at->chances + context;
    const uint32_t bound = (at->range >> 16) * *chance;
    const uint8_t bit = at->code < bound;
    if (bit) {
        at->range = bound;
        *chance = (uint16_t)(*chance + ((65535u - *chance) >> 6));
    } else {
        at->code -= bound;
        at->range -= bound;
        *chance = (uint16_t)(*chance - (*chance >> 6));
    }
    while (at->range < 0x1000000) {
        at->range <<= 8;
        at->code = at->code << 8 | ${NAME}_BYTE(at->next);
        ++at->next;
    }
    return bit;
}

/* for each weight whether it is 0, by the one before */
static void ${name}_adaptive_move(${name}_cursor *at)
{
    uint8_t before = 1;
    while (!${name}_decide(at, before)) {
        before = 0;
        ++at->column;
    }
}

/* a code less one: its lowest bit, by the one before, and the others from the highest on, which are below most */
static uint8_t ${name}_adaptive_code(${name}_cursor *at, uint8_t most)
{
    uint8_t node = 1;
    at->lowest = ${name}_decide(at, (uint8_t)(2 + at->lowest));
    while (node < most) {
        node = (uint8_t)(node << 1 | ${name}_decide(at, (uint8_t)(3 + node)));
    }
    return (uint8_t)((node - most) << 1 | at->lowest);
}
"""


def reader(stream: WeightStream, name: str) -> StreamReader:
    """Returns how a stream is read in the net of a name; the cursor is the variable ``at``."""
    if stream.form == "dense":
        return StreamReader(_DENSE, f"{name}_dense_code(&at)", "", True)
    if stream.form == "nibbles":
        return StreamReader(_NIBBLES, "at.byte & 15", f"{name}_nibbles_move(&at);", True)
    if stream.form == "adaptive":
        begin, code = f"{name}_adaptive_begin(&at, {stream.share});", f"{name}_adaptive_code(&at, {1 << stream.width})"
        return StreamReader(_ADAPTIVE, code, f"{name}_adaptive_move(&at);", False, begin)
    gap, code = (f"{name}_rice(&at, {each.most}, {each.shift})" for each in (stream.gap, stream.code))
    return StreamReader(_BITS, code, f"at.column += {gap};", False)
