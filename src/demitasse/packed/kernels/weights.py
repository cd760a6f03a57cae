"""The model of weights: a matrix with a row for each unit, in which every weight is zero or has sign and magnitude."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from demitasse.arrays import Array
from demitasse.loops import inner, njit
from demitasse.packed.kernels.arithmetic import COST, code
from demitasse.packed.kernels.mixing import learn, level, log, logit, logs, mix, squash, step

# The initial values of the model, found by random search on nets of this project and the published LeNet-5. Weights of
# the mixers in 1/65536, in the order of slots and inputs below: for presence the same in every set, for values one set
# for signs and one for magnitudes.
# fmt: off
_PRESENCE = np.array([[
    -21561, -5571, -4456, -328, -4719, 14549, 5308, 8192, 6685, -1638, 3604, 5636, 1114, 459,
    44958, 24445, 25559, 7602, 49611, 29950, 63177,
]] * 3)
_VALUES = np.array([
    [-20840, -9634, -6423, -6554, 6423, 4915, 6947, 70451, 16253, -1114],
    [-3080, 6226, -1311, 786, 1966, 6357, 1573, 18940, 8651, 23986],
])
# fmt: on
_PRESENCE_SLOTS, _VALUE_SLOTS = 14, 10
# in 1/65536, added to the found and expected numbers of weights, so that small numbers have less effect
_ZEROS_AHEAD = 648_806
# numpy integers, since plain ones would be compiled in, with one loop for each set of values
_ROW, _COLUMN, _CHANNEL, _PLACE, _AROUND = map(np.int64, (37_683, 445_000, 131_500, 826_800, 3_000))
_PRESENCE_EASE, _PRESENCE_LIMIT, _VALUE_EASE, _VALUE_LIMIT = map(np.int64, (5, 1_000, 0, 116))
_BIAS = 307
# nodes of the tree of magnitudes for which rows and columns have slots of their own
_NODES = 16
# number of contexts of the slots of a value, apart from those of rows, columns, channels and places
_LAST, _LEFT_AND_UP, _LAST_AND_SIGN, _SUM_AND_SIGN = 10, 100, 20, 40

# What a pass over the matrix counts. Of the whole: nonzero weights so far, those in the row, those expected in the row
# (in 1/65536), those in the row's present channel; and the last nonzero symbol. Of each column, channel and place in
# the kernel: nonzero weights, expected ones, the last nonzero symbol, and which of the last weights were nonzero.
_RUN = 5
FOUND, IN_ROW, FOR_ROW, NEAR, LAST = range(_RUN)
_KEPT = 4
IN, FOR, SYMBOL, HISTORY = range(_KEPT)


class MatrixLayout(NamedTuple):
    """The layout of a matrix, and the kind of its values.

    Attributes:
        rows: number of rows, one for each unit.
        columns: number of columns, in groups: the kernel of each input channel.
        group: number of columns of a group.
        side: width of the kernel.
        depth: number of bits of a magnitude.
        signed: 1 if the lowest bit of a code is a sign, else 0.
        zeros: whether there are zeros.
    """

    rows: int
    columns: int
    group: int
    side: int
    depth: int
    signed: int
    zeros: bool

    @property
    def last(self) -> int:
        """The symbol that is coded as ones only."""
        return 1 + ((1 << self.depth) - 1 << self.signed | self.signed)

    @property
    def constant(self) -> bool:
        """Whether all weights are equal, so that there is nothing to code."""
        return self.last == 1 and not self.zeros


class WeightPosition(NamedTuple):
    """The position of a weight: row, column and index; channel, place in the kernel, and column in the kernel."""

    r: int
    c: int
    i: int
    channel: int
    place: int
    x: int


@inner
def _excess(found, expected, ahead):
    """Returns the logarithm of the ratio of found to expected weights."""
    return log((found << 16) + ahead) - log(expected + ahead)


@inner
def _excess_around(of_column, layout, at):
    """Returns the excess of the neighbouring columns in the kernel: left, right, above and below."""
    c, side, found, expected = at.c, layout.side, 0, 0
    if at.x:
        found += of_column[IN, c - 1]
        expected += of_column[FOR, c - 1]
    if at.x < side - 1 and at.place + 1 < layout.group:
        found += of_column[IN, c + 1]
        expected += of_column[FOR, c + 1]
    if at.place >= side:
        found += of_column[IN, c - side]
        expected += of_column[FOR, c - side]
    if at.place + side < layout.group:
        found += of_column[IN, c + side]
        expected += of_column[FOR, c + side]
    return _excess(found, expected, _AROUND)


@inner
def _presence(
    symbols, layout, at, unit, run, of_column, of_channel, of_place, slots, memory, inputs, weights, first, state, data
):
    """Codes whether a weight is nonzero; ``unit`` is the excess of the unit that it comes from."""
    group, side, i = layout.group, layout.side, at.i
    x, up = at.x, at.place >= side
    base = log((run[FOUND] << 16) + 32768) - log(((i - run[FOUND]) << 16) + _ZEROS_AHEAD)
    row_excess = _excess(run[IN_ROW], run[FOR_ROW], _ROW)
    column_excess = _excess(of_column[IN, at.c], of_column[FOR, at.c], _COLUMN)
    channel_excess = place_excess = around = 0
    if group > 1:
        channel_excess = _excess(of_channel[IN, at.channel], of_channel[FOR, at.channel], _CHANNEL)
        place_excess = _excess(of_place[IN, at.place], of_place[FOR, at.place], _PLACE)
        around = _excess_around(of_column, layout, at)
    row, column, channel = level(row_excess), level(column_excess), level(channel_excess)
    both = level(column_excess + channel_excess)
    pattern = (1 if x and symbols[i - 1] else 0) + (2 if up and symbols[i - side] else 0)
    pattern += 4 if up and x and symbols[i - side - 1] else 0
    pattern += 8 if up and x < side - 1 and symbols[i - side + 1] else 0
    behind = 1 if at.c >= group and symbols[i - group] else 0
    close = (1 if at.c and symbols[i - 1] else 0) + (2 if at.c > 1 and symbols[i - 2] else 0)
    close += 4 if at.r and symbols[i - layout.columns] else 0
    few = min(run[NEAR], 3)
    context = (
        0,
        at.r,
        at.c,
        row * 16 + both,
        column * 16 + channel,
        (pattern + 16 * behind) * 16 + row,
        (close + 8 * behind) * 16 + both,
        level(unit) * 16 + both,
        step(of_column[IN, at.c]) * 16 + step(run[IN_ROW]),
        of_column[HISTORY, at.c],
        at.place * 4 + few,
        at.channel,
        (few * 16 + row) * 16 + channel,
        at.r * 8 + few * 2 + (1 if at.place else 0),
    )
    for j in range(_PRESENCE_SLOTS):
        slots[j] = first[j] + context[j]
    more = (row_excess, column_excess, channel_excess, place_excess, unit, around, _BIAS)
    for j in range(len(more)):
        inputs[_PRESENCE_SLOTS + j] = more[j]
    p = mix(slots, memory, inputs, weights, base)
    bit = code(state, data, p, 1 if symbols[i] else 0)
    learn(
        slots, memory, inputs, weights, p, bit, 734 + 7_025 * 127 // (127 + run[FOUND]), _PRESENCE_EASE, _PRESENCE_LIMIT
    )
    expected = squash(base + row_excess + channel_excess)
    run[FOR_ROW] += squash(base + column_excess + channel_excess)
    of_column[FOR, at.c] += expected
    of_channel[FOR, at.channel] += squash(base + row_excess + place_excess)
    of_place[FOR, at.place] += expected
    of_column[HISTORY, at.c] = (of_column[HISTORY, at.c] << 1 | bit) & 255
    return bit


@inner
def _neighbour_context(symbol, layout, depth):
    """Returns the context that a symbol gives for another's sign (depth 0) or magnitude: 0 for zero, else 1 .. 8."""
    if not symbol:
        return 0
    number = symbol - 1
    if not depth:
        return 1 + (number & 1)
    return 1 + ((number >> layout.signed) >> max(0, layout.depth - 3))


@inner
def _value(symbols, layout, at, run, of_column, of_channel, slots, memory, inputs, weights, first, kinds, state, data):
    """Codes a nonzero weight: the sign, then the magnitude from its highest bit down; returns its symbol."""
    left = symbols[at.i - 1] & 0xFFFF if at.x else 0
    up = symbols[at.i - layout.side] & 0xFFFF if at.place >= layout.side else 0
    number, node, sign = (symbols[at.i] & 0xFFFF) - 1, 1 - layout.signed, 0
    for depth in range(1 - layout.signed, layout.depth + 1):
        beside, above = _neighbour_context(left, layout, depth), _neighbour_context(up, layout, depth)
        kind = (
            0,
            at.r,
            at.c,
            at.channel,
            at.place,
            _neighbour_context(run[LAST], layout, depth),
            _neighbour_context(of_column[SYMBOL, at.c], layout, depth),
            beside * 10 + above,
            _neighbour_context(of_channel[SYMBOL, at.channel], layout, depth) * 2 + sign,
            (beside + above) * 2 + sign,
        )
        for j in range(_VALUE_SLOTS):
            slots[j] = first[j] + (kind[j] if node < _NODES else kinds[j]) * _NODES + node
        base = logit(memory[slots[0]]) if memory[slots[0]] else 0
        chosen = weights[min(depth, 1)]
        p = mix(slots, memory, inputs, chosen, base)
        bit = code(state, data, p, number >> (layout.depth - depth + layout.signed if depth else 0) & 1)
        learn(slots, memory, inputs, chosen, p, bit, 2_831 * 1_250 // (1_250 + run[FOUND]), _VALUE_EASE, _VALUE_LIMIT)
        if depth:
            node = 2 * node + bit
        else:
            node, sign = 1, bit
    magnitude = node - (1 << layout.depth)
    return 1 + (magnitude << layout.signed | sign)


class WeightsMemory(NamedTuple):
    """What the model has learned about a matrix; presence and values have slots of their own.

    Attributes:
        before: the excess of each unit that the columns come from, as a logarithm; empty if unknown.
        run: (_RUN,), the counts of the whole matrix, see above.
        of_column: (_KEPT, columns), the counts of each column.
        of_channel: (_KEPT, channels), the counts of each channel.
        of_place: (_KEPT, group), the counts of each place in the kernel.
        slots: buffer for the slots of a decision about presence, as indices in ``memory``.
        memory: all slots of presence.
        inputs: buffer for the logits of a decision about presence.
        mixed: weights of the mixer of presence.
        first: the first slot of each context of presence in ``memory``.
        value_slots: ``slots`` for values.
        value_memory: ``memory`` for values.
        value_inputs: ``inputs`` for values.
        value_mixed: ``mixed`` for values.
        value_first: ``first`` for values.
        kinds: number of contexts of each slot of a value.
    """

    before: Array
    run: Array
    of_column: Array
    of_channel: Array
    of_place: Array
    slots: Array
    memory: Array
    inputs: Array
    mixed: Array
    first: Array
    value_slots: Array
    value_memory: Array
    value_inputs: Array
    value_mixed: Array
    value_first: Array
    kinds: Array


def fresh(layout: MatrixLayout, before: Array) -> WeightsMemory:
    """Returns the memory of an untrained model.

    Args:
        layout: see :class:`MatrixLayout`.
        before: number of nonzero weights of each unit that the columns come from; empty if unknown.
    """
    rows, columns, group = layout.rows, layout.columns, layout.group
    channels = columns // group
    # the number of slots of each context
    sizes = (1, rows, columns, 256, 256, 512, 256, 256, 256, 256, 4 * group, channels, 1024, 8 * rows)
    first = np.cumsum((0, *sizes))
    kinds = np.array((1, rows, columns, channels, group, _LAST, _LAST, _LEFT_AND_UP, _LAST_AND_SIGN, _SUM_AND_SIGN))
    value_first = np.cumsum((0, *(kinds * _NODES + (1 << layout.depth)).tolist()))
    return WeightsMemory(
        _excess_of_units(before),
        np.zeros(_RUN, np.int64),
        np.zeros((_KEPT, columns), np.int64),
        np.zeros((_KEPT, channels), np.int64),
        np.zeros((_KEPT, group), np.int64),
        *_mixer(first, _PRESENCE),
        *_mixer(value_first, _VALUES),
        kinds,
    )


def _excess_of_units(counts: Array) -> Array:
    if not len(counts):
        return counts
    total, number = logs(np.array([2 * counts.sum() + len(counts), len(counts)]))
    found: Array = logs(2 * counts + 1) - (total - number)
    return found


def _mixer(first: Array, weights: Array) -> tuple[Array, Array, Array, Array, Array]:
    slots, inputs = np.zeros(len(first) - 1, np.int64), np.zeros(weights.shape[1], np.int64)
    return slots, np.zeros(first[-1], np.uint32), inputs, weights.copy(), first


@njit()
def weights(
    symbols, begin, end, layout, before, run, of_column, of_channel, of_place,
    slots, memory, inputs, mixed, first,
    value_slots, value_memory, value_inputs, value_mixed, value_first, kinds,
    costs, state, data,
):  # fmt: skip
    """Codes the weights ``begin:end`` of a matrix.

    Args:
        symbols: (rows * columns,), row by row: 0 for zero, else 1 + code; filled when decoding.
        begin: the first weight to code.
        end: the end of the weights to code.
        layout: see :class:`MatrixLayout`.
        before: see :class:`WeightsMemory`.
        run: see :class:`WeightsMemory`.
        of_column: see :class:`WeightsMemory`.
        of_channel: see :class:`WeightsMemory`.
        of_place: see :class:`WeightsMemory`.
        slots: see :class:`WeightsMemory`.
        memory: see :class:`WeightsMemory`.
        inputs: see :class:`WeightsMemory`.
        mixed: see :class:`WeightsMemory`.
        first: see :class:`WeightsMemory`.
        value_slots: see :class:`WeightsMemory`.
        value_memory: see :class:`WeightsMemory`.
        value_inputs: see :class:`WeightsMemory`.
        value_mixed: see :class:`WeightsMemory`.
        value_first: see :class:`WeightsMemory`.
        kinds: see :class:`WeightsMemory`.
        costs: (2,), increased by the cost of positions and of values, as the arithmetic decoder counts it.
        state: the state of the arithmetic coder.
        data: the bytes that the arithmetic coder writes or reads.
    """
    columns, group = layout.columns, layout.group
    span = columns // len(before) if len(before) else 1
    r = begin // columns
    c = begin - r * columns
    for i in range(begin, end):
        if c == 0:
            run[IN_ROW] = run[FOR_ROW] = 0
        channel = c // group
        place = c - channel * group
        at = WeightPosition(r, c, i, channel, place, place % layout.side)
        if place == 0:
            run[NEAR] = 0
        present = 1
        if layout.zeros:
            unit = before[c // span] if len(before) else 0
            spent = state[COST]
            present = _presence(
                symbols, layout, at, unit, run, of_column, of_channel, of_place,
                slots, memory, inputs, mixed[min(run[NEAR], 2) if group > 1 else 0], first, state, data,
            )  # fmt: skip
            costs[0] += state[COST] - spent
        if present:
            spent = state[COST]
            symbol = _value(
                symbols, layout, at, run, of_column, of_channel,
                value_slots, value_memory, value_inputs, value_mixed, value_first, kinds, state, data,
            )  # fmt: skip
            costs[1] += state[COST] - spent
            symbols[i] = run[LAST] = of_column[SYMBOL, c] = of_channel[SYMBOL, channel] = symbol
            run[FOUND] += 1
            run[IN_ROW] += 1
            run[NEAR] += 1
            of_column[IN, c] += 1
            of_channel[IN, channel] += 1
            of_place[IN, place] += 1
        else:
            symbols[i] = 0
        c += 1
        if c == columns:
            r, c = r + 1, 0
