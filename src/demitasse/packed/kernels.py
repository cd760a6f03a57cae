"""The compiled loops of the coder: arithmetic coding, mixing of probabilities, the models of weights and of bytes.

Every loop goes both ways: told to encode, it reads the symbols, else it writes them. So the two cannot differ. All
arithmetic is in integers. The loops stand in one file, since a compiled loop that is kept on the disk is made anew
only when its own file changes.

References: Martin 1979, Range encoding; Mahoney 2005, Adaptive weighing of context models for lossless data
compression (Florida Tech CS-2005-16), for the mixing in the logistic domain.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import numpy as np
from numba import njit

from demitasse.packed.tables import LARGEST, UNIT

# ---- the arithmetic coder: state is low, range, code, held byte, bytes pending, position, encode, end of data

LOW, RANGE, CODE, HELD, PENDING, POSITION, ENCODE, END = range(8)
STATE = 8


@njit(cache=True, nogil=True)
def _shift(state, data):
    """Moves one byte out of low; a byte that a carry may still reach is held back, with the 255s behind it."""
    low = state[LOW]
    if low < 0xFF000000 or low > 0xFFFFFFFF:
        carry = low >> 32
        if state[PENDING] > 0:
            # the very first byte is always 0 and left out
            if state[HELD] >= 0:
                data[state[POSITION]] = (state[HELD] + carry) & 255
                state[POSITION] += 1
            for _ in range(state[PENDING] - 1):
                data[state[POSITION]] = (255 + carry) & 255
                state[POSITION] += 1
        state[PENDING] = 0
        state[HELD] = (low >> 24) & 255
    state[PENDING] += 1
    state[LOW] = (low & 0x00FFFFFF) << 8


@njit(cache=True, nogil=True)
def _next(state, data):
    """Returns the next byte; zeros follow the end."""
    position = state[POSITION]
    state[POSITION] = position + 1
    return int(data[position]) if position < state[END] else 0


@njit(cache=True, nogil=True)
def start(state, data, encode):
    """Begins a stream in ``data``: to be filled, or to be read."""
    state[:] = 0
    state[RANGE] = 0xFFFFFFFF
    state[HELD] = -1
    state[PENDING] = 1
    state[ENCODE] = encode
    state[END] = len(data)
    if not encode:
        for _ in range(4):
            state[CODE] = state[CODE] << 8 | _next(state, data)


@njit(cache=True, nogil=True)
def finish(state, data):
    """Ends an encoded stream with as few bytes as tell it from others; returns its length."""
    low, last = state[LOW], state[LOW] + state[RANGE] - 1
    for kept in range(5):
        mask = (np.int64(1) << (32 - 8 * kept)) - 1
        value = (low + mask) & ~mask
        if value <= last:
            state[LOW] = value
            break
    for _ in range(5):
        _shift(state, data)
    end = state[POSITION]
    while end > 0 and data[end - 1] == 0:
        end -= 1
    return int(end)


@njit(cache=True, nogil=True)
def _code(state, data, probability, bit):
    """Codes one bit; ``probability`` of a 1 in 1/65536."""
    bound = (state[RANGE] >> 16) * probability
    if state[ENCODE]:
        if bit:
            state[RANGE] = bound
        else:
            state[LOW] += bound
            state[RANGE] -= bound
        while state[RANGE] < 0x1000000:
            state[RANGE] <<= 8
            _shift(state, data)
        return bit
    if state[CODE] < bound:
        bit = 1
        state[RANGE] = bound
    else:
        bit = 0
        state[CODE] -= bound
        state[RANGE] -= bound
    while state[RANGE] < 0x1000000:
        state[RANGE] <<= 8
        state[CODE] = state[CODE] << 8 | _next(state, data)
    return bit


# ---- mixing: a slot is a probability of 22 bits and the number of observations behind it

# a slot moves by 1 / (n + 1.5); its n stops here
_SLOT_LIMIT = 255


@njit(cache=True, nogil=True)
def _squash(x, squash):
    return int(squash[min(max(x, -LARGEST), LARGEST) + LARGEST])


@njit(cache=True, nogil=True)
def _log(x, log):
    """Returns the natural logarithm of a positive integer in 1 / UNIT."""
    bits = 0
    y = x
    if y >= 1 << 32:
        y >>= 32
        bits += 32
    if y >= 1 << 16:
        y >>= 16
        bits += 16
    if y >= 1 << 8:
        y >>= 8
        bits += 8
    while y > 1:
        y >>= 1
        bits += 1
    fraction = x >> (bits - 10) if bits >= 10 else x << (10 - bits)
    # 726817 / 1024 is the logarithm of 2
    return int(log[fraction - UNIT]) + ((bits * 726817) >> 10)


@njit(cache=True, nogil=True)
def _level(x):
    """Returns a logarithm in half powers of two, 0 .. 15, 8 for equal."""
    return min(15, max(0, 8 + ((x * 2954 + (1 << 19)) >> 20)))


@njit(cache=True, nogil=True)
def _step(count):
    """Returns a count on a scale that grows ever wider, 0 .. 15."""
    if count < 4:
        return count
    bits = 0
    y = count
    while y >= 4:
        y >>= 1
        bits += 1
    return min(15, 2 * bits + y)


@njit(cache=True, nogil=True)
def _mix(count, slots, probability, seen, inputs, weights, base, stretch, squash):
    """Returns the probability of a 1: slots are read relative to the logit ``base``, then all inputs are weighed.

    A slot that was never used starts at ``base``. Inputs behind the slots' are filled by the caller.
    """
    fresh = _squash(base, squash) << 6
    total = 0
    for j in range(count):
        slot = slots[j]
        if seen[slot] == 0:
            probability[slot] = fresh
        inputs[j] = stretch[min(max(probability[slot] >> 6, 1), 65535)] - base
    for j in range(len(inputs)):
        total += weights[j] * inputs[j]
    return _squash(base + (total >> 16), squash)


@njit(cache=True, nogil=True)
def _learn(count, slots, probability, seen, inputs, weights, error, pace, bit, ease, limit, rate):
    """Moves the weights down the gradient of the code length, and the slots towards the bit."""
    error *= pace
    for j in range(len(inputs)):
        weights[j] += (error * inputs[j] + (1 << 29)) >> 30
    for j in range(count):
        slot = slots[j]
        n = seen[slot]
        probability[slot] += (((bit << 22) - probability[slot]) * rate[n + ease]) >> 16
        if n < limit:
            seen[slot] = n + 1


# ---- weights: a matrix, rows are units; each is zero or not, and if not, has a sign and a magnitude

PRESENCE_SLOTS, PRESENCE_INPUTS, PRESENCE_SETS = 14, 21, 3
VALUE_SLOTS, VALUE_INPUTS, VALUE_SETS = 10, 10, 2
# nodes of the tree of magnitudes that rows and columns have slots of their own for
_NODES = 16


@njit(cache=True, nogil=True)
def weights(
    symbols, rows, columns, group, side, before, depth, signed, zeros, mixer, settings, state, data, counts, tables
):
    """Codes a matrix of symbols: 0 for zero, else 1 + code; see :mod:`demitasse.packed.weights`.

    Columns stand in groups (the kernel of an input channel), whose images are ``side`` wide.

    Args:
        symbols: rows * columns of them, row by row.
        before: number of weights that are not zero of each unit that the columns come from; empty if not known.
        depth: bits of a magnitude.
        signed: whether the lowest bit of a code is a sign.
        zeros: whether there is a zero.
        mixer: first weights in 1/65536: of the sets for presence, then for values.
        settings: see :data:`demitasse.packed.weights.SETTINGS`.
        counts: filled with the number of weights that are not zero, by row.
        tables: see :mod:`demitasse.packed.tables`.
    """
    squash, stretch, log, rate = tables
    channels = columns // group
    presence = np.empty((PRESENCE_SETS, PRESENCE_INPUTS), np.int64)
    values = np.empty((VALUE_SETS, VALUE_INPUTS), np.int64)
    presence[:] = mixer[:PRESENCE_SETS, :PRESENCE_INPUTS]
    values[:] = mixer[PRESENCE_SETS:, :VALUE_INPUTS]

    # where the slots of each context begin
    sizes = (1, rows, columns, 256, 256, 512, 256, 256, 256, 256, 4 * group, channels, 1024, 8 * rows)
    first = np.zeros(PRESENCE_SLOTS + 1, np.int64)
    for j in range(PRESENCE_SLOTS):
        first[j + 1] = first[j] + sizes[j]
    kinds = (1, rows, columns, channels, group, 10, 10, 100, 20, 40)
    value_first = np.zeros(VALUE_SLOTS + 1, np.int64)
    for j in range(VALUE_SLOTS):
        value_first[j + 1] = value_first[j] + kinds[j] * _NODES + (1 << depth)
    probability = np.zeros(first[PRESENCE_SLOTS], np.int32)
    seen = np.zeros(first[PRESENCE_SLOTS], np.int16)
    value_probability = np.zeros(value_first[VALUE_SLOTS], np.int32)
    value_seen = np.zeros(value_first[VALUE_SLOTS], np.int16)
    slots = np.zeros(PRESENCE_SLOTS, np.int64)
    inputs = np.zeros(PRESENCE_INPUTS, np.int64)
    value_slots = np.zeros(VALUE_SLOTS, np.int64)
    value_inputs = np.zeros(VALUE_INPUTS, np.int64)
    around = np.zeros(5, np.int64)

    # found and expected numbers (in 1/65536) by column, channel and place in the kernel
    in_column, for_column = np.zeros(columns, np.int64), np.zeros(columns, np.int64)
    in_channel, for_channel = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    in_place, for_place = np.zeros(group, np.int64), np.zeros(group, np.int64)
    history = np.zeros(columns, np.uint8)
    last_in_column, last_in_channel = np.zeros(columns, np.int32), np.zeros(channels, np.int32)
    last = 0
    span = columns // len(before) if len(before) else 1
    mean = _log(2 * before.sum() + len(before), log) - _log(len(before), log) if len(before) else 0
    found = 0
    for r in range(rows):
        in_row, for_row, near = 0, 0, 0
        for c in range(columns):
            i = r * columns + c
            channel = c // group
            place = c - channel * group
            x = place % side
            if place == 0:
                near = 0
            up = place >= side
            left_symbol = symbols[i - 1] if x else 0
            up_symbol = symbols[i - side] if up else 0
            bit = 1
            if zeros:
                # how much denser than expected: the row, column, channel, place, the columns around, the unit before
                base = _log((found << 16) + 32768, log) - _log((((r * columns + c) - found) << 16) + settings[0], log)
                a = _log((in_row << 16) + settings[1], log) - _log(for_row + settings[1], log)
                b = _log((in_column[c] << 16) + settings[2], log) - _log(for_column[c] + settings[2], log)
                d = e = f = g = 0
                if group > 1:
                    d = _log((in_channel[channel] << 16) + settings[3], log) - _log(
                        for_channel[channel] + settings[3], log
                    )
                    e = _log((in_place[place] << 16) + settings[4], log) - _log(for_place[place] + settings[4], log)
                    n = m = 0
                    if x:
                        n += in_column[c - 1]
                        m += for_column[c - 1]
                    if x < side - 1 and place + 1 < group:
                        n += in_column[c + 1]
                        m += for_column[c + 1]
                    if up:
                        n += in_column[c - side]
                        m += for_column[c - side]
                    if place + side < group:
                        n += in_column[c + side]
                        m += for_column[c + side]
                    g = _log((n << 16) + settings[5], log) - _log(m + settings[5], log)
                if len(before):
                    f = _log(2 * before[c // span] + 1, log) - mean
                row, column, both, unit = _level(a), _level(b), _level(b + d), _level(f)
                left = 1 if c and symbols[i - 1] else 0
                pattern = (1 if left_symbol else 0) + (2 if up_symbol else 0)
                if up and x and symbols[i - side - 1]:
                    pattern += 4
                if up and x < side - 1 and symbols[i - side + 1]:
                    pattern += 8
                behind = 1 if c >= group and symbols[i - group] else 0
                close = left + (2 if c > 1 and symbols[i - 2] else 0) + (4 if r and symbols[i - columns] else 0)
                few = min(near, 3)
                slots[0] = 0
                slots[1] = first[1] + r
                slots[2] = first[2] + c
                slots[3] = first[3] + row * 16 + both
                slots[4] = first[4] + column * 16 + _level(d)
                slots[5] = first[5] + (pattern + 16 * behind) * 16 + row
                slots[6] = first[6] + (close + 8 * behind) * 16 + both
                slots[7] = first[7] + unit * 16 + both
                slots[8] = first[8] + _step(in_column[c]) * 16 + _step(in_row)
                slots[9] = first[9] + history[c]
                slots[10] = first[10] + place * 4 + few
                slots[11] = first[11] + channel
                slots[12] = first[12] + (few * 16 + row) * 16 + _level(d)
                slots[13] = first[13] + r * 8 + few * 2 + (1 if place else 0)
                inputs[14], inputs[15], inputs[16], inputs[17], inputs[18], inputs[19] = a, b, d, e, f, g
                inputs[20] = 307
                mixed = presence[min(near, 2) if group > 1 else 0]
                p = _mix(PRESENCE_SLOTS, slots, probability, seen, inputs, mixed, base, stretch, squash)
                bit = _code(state, data, p, 1 if symbols[i] else 0)
                pace = settings[6] + settings[7] * settings[8] // (settings[8] + found)
                _learn(
                    PRESENCE_SLOTS,
                    slots,
                    probability,
                    seen,
                    inputs,
                    mixed,
                    (bit << 16) - p,
                    pace,
                    bit,
                    settings[9],
                    settings[10],
                    rate,
                )
                for_row += _squash(base + b + d, squash)
                for_column[c] += _squash(base + a + d, squash)
                for_channel[channel] += _squash(base + a + e, squash)
                for_place[place] += _squash(base + a + d, squash)
                history[c] = history[c] << 1 | bit
            if not bit:
                symbols[i] = 0
                continue
            # the sign, then the magnitude from its highest bit down
            code = symbols[i] - 1
            node, sign = 0 if signed else 1, 0
            for level in range(0 if signed else 1, depth + 1):
                around[0], around[1], around[2] = last, last_in_column[c], last_in_channel[channel]
                around[3], around[4] = left_symbol, up_symbol
                for j in range(5):
                    s = around[j]
                    if s and level == 0:
                        around[j] = 1 + (s - 1 & 1)
                    elif s:
                        around[j] = 1 + ((s - 1 >> 1 if signed else s - 1) >> max(0, depth - 3))
                both = around[3] + around[4]
                told = sign if level else 0
                kind = (
                    0,
                    r,
                    c,
                    channel,
                    place,
                    around[0],
                    around[1],
                    around[3] * 10 + around[4],
                    around[2] * 2 + told,
                    both * 2 + told,
                )
                for j in range(VALUE_SLOTS):
                    value_slots[j] = value_first[j] + (
                        kind[j] * _NODES + node if node < _NODES else kinds[j] * _NODES + node
                    )
                slot = value_slots[0]
                base = 0
                if value_seen[slot]:
                    base = stretch[min(max(value_probability[slot] >> 6, 1), 65535)]
                mixed = values[min(level, 1)]
                p = _mix(
                    VALUE_SLOTS, value_slots, value_probability, value_seen, value_inputs, mixed, base, stretch, squash
                )
                if level:
                    shift = depth - level + (1 if signed else 0)
                    bit = _code(state, data, p, code >> shift & 1)
                else:
                    bit = _code(state, data, p, code & 1)
                _learn(
                    VALUE_SLOTS,
                    value_slots,
                    value_probability,
                    value_seen,
                    value_inputs,
                    mixed,
                    (bit << 16) - p,
                    settings[11] * settings[12] // (settings[12] + found),
                    bit,
                    settings[13],
                    settings[14],
                    rate,
                )
                if level:
                    node = 2 * node + bit
                else:
                    sign = bit
                if level == 0:
                    node = 1
            magnitude = node - (1 << depth)
            symbols[i] = 1 + (magnitude << 1 | sign if signed else magnitude)
            last = last_in_column[c] = last_in_channel[channel] = symbols[i]
            found += 1
            in_row += 1
            in_column[c] += 1
            in_channel[channel] += 1
            in_place[place] += 1
            near += 1
        counts[r] = in_row


# ---- bytes: text, and numbers of ``width`` bytes each, the byte that matters most first

BYTE_SLOTS = 7
_MULTIPLIER = 0x9E3779B1


@njit(cache=True, nogil=True)
def text(values, begin, width, bits, mixer, settings, state, data, tables):
    """Codes bytes, from ``begin`` on; those before are known to both sides and only prime the model.

    Args:
        values: all bytes.
        begin: of those that are coded.
        width: bytes of a number; 1 for text.
        bits: 2^bits slots for every context.
        mixer: first weights in 1/65536.
        settings: see :data:`demitasse.packed.bytes.SETTINGS`.
        tables: see :mod:`demitasse.packed.tables`.
    """
    squash, stretch, _, rate = tables
    weights = np.empty((BYTE_SLOTS, BYTE_SLOTS), np.int64)
    weights[:] = mixer
    probability = np.full(BYTE_SLOTS << bits, 1 << 21, np.int32)
    seen = np.zeros(BYTE_SLOTS << bits, np.int16)
    context = np.zeros(BYTE_SLOTS, np.int64)
    slots = np.zeros(BYTE_SLOTS, np.int64)
    inputs = np.zeros(BYTE_SLOTS, np.int64)
    mask = (1 << bits) - 1
    for i in range(len(values)):
        place = i % width
        one = np.int64(values[i - 1]) if i else 0
        two = np.int64(values[i - 2]) if i > 1 else 0
        three = np.int64(values[i - 3]) if i > 2 else 0
        four = np.int64(values[i - 4]) if i > 3 else 0
        same = np.int64(values[i - width]) if i >= width else 0
        context[0] = place
        context[1] = place + 8 * (one + 1)
        context[2] = place + 8 * (one + 256 * two + 1)
        context[3] = place + 8 * (one + 256 * two + 65536 * three + 1)
        context[4] = place + 8 * (one + 256 * two + 65536 * three + (four << 24) + 1)
        context[5] = place + 8 * (same + 1)
        context[6] = place + 8 * (same + 256 * one + 1)
        node = np.int64(1)
        for level in range(8):
            total, known = 0, 0
            for j in range(BYTE_SLOTS):
                mixed = ((context[j] << 8 | node) * _MULTIPLIER) & 0xFFFFFFFF
                slot = (j << bits) + ((mixed ^ mixed >> 15) & mask)
                slots[j] = slot
                inputs[j] = stretch[min(max(probability[slot] >> 6, 1), 65535)] if seen[slot] else 0
                if j < 5 and seen[slot]:
                    known = j
            chosen = weights[known]
            for j in range(BYTE_SLOTS):
                total += chosen[j] * inputs[j]
            p = _squash(total >> 16, squash)
            bit = np.int64(values[i]) >> (7 - level) & 1
            if i >= begin:
                bit = _code(state, data, p, bit)
            _learn(
                BYTE_SLOTS,
                slots,
                probability,
                seen,
                inputs,
                chosen,
                (bit << 16) - p,
                settings[0],
                bit,
                0,
                settings[1],
                rate,
            )
            node = np.int64(2 * node + bit)
        values[i] = node & 255
