"""Compiled loops over flat float32 arrays, each in one pass over memory.

:mod:`demitasse.methods.fused` and :mod:`demitasse.methods.exchange` describe what they compute, and call them through
:mod:`demitasse.methods.compiled`, which imports this module, and with it numba, only when it is needed. Loops run from
0, which lets the compiler prove that indices are not negative and use vector instructions.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import numba
import numpy as np
from numba import prange

from demitasse.loops import njit

CHUNK, BLOCK, STRIP = 1 << 15, 1 << 10, 1 << 6
ZERO, SUM = np.float32(0), np.int32(0)
INFINITE = np.int32(0xFF << 23)  # the bit pattern of infinity; those of NaN are larger


@njit(cache=True, nogil=True)
def apply_mask(weight, mask, out):
    for i in range(weight.size):
        value = weight[i]
        out[i] = value if mask[i] else ZERO


@njit(cache=True, nogil=True)
def operate(weight, mask, out, low, high):
    for i in range(weight.size):
        value = weight[i]
        bound = low if mask[i] else high
        keep = not (abs(value) <= bound)
        mask[i] = keep
        out[i] = value if keep else ZERO


@njit(cache=True, nogil=True)
def sgd(weight, gradient, history, momentum, rate, scale, decay):
    for i in range(weight.size):
        v = momentum * history[i] + rate * (scale * gradient[i] + decay * weight[i])
        history[i] = v
        weight[i] -= v


@njit(cache=True, nogil=True)
def sgd_free(weight, gradient, history, free, momentum, rate, scale, decay):
    for i in range(weight.size):
        v = momentum * history[i] + rate * (scale * gradient[i] + decay * weight[i])
        v = v if free[i] else ZERO
        history[i] = v
        weight[i] -= v


# For compressed parameters. The states are FREE 0, CUT 1, FROZEN 2, PRUNED 3, as in demitasse.methods.exchange.


@njit(cache=True, nogil=True)
def put_back(values, bits, status, reserve):
    off_grid = 0
    for i in range(values.size):
        if status[i] == 1:
            if values[i] == ZERO:
                values[i] = reserve[i]
        elif status[i] == 2:
            reserve[i] = values[i]
            off_grid += (bits[i] & 0x7FFFFF) != 0
    return off_grid


@njit(cache=True, nogil=True)
def take_out(values, status, reserve):
    for i in range(values.size):
        state = status[i]
        if state == 0:
            continue
        if state == 1:
            reserve[i] = values[i]
        values[i] = reserve[i] if state == 2 else ZERO


# The next loops work block by block: vector instructions first fill a buffer that stays in the cache.


@njit(cache=True, nogil=True)
def score(value, state, hidden, free_scale, cut_scale):
    is_cut = state == 1
    dense = hidden if is_cut and value == ZERO else value
    return abs(dense) * (cut_scale if is_cut else free_scale)


@njit(cache=True, nogil=True)
def states_by(values, status, reserve, free_scale, cut_scale, bound, states):
    changes = SUM
    for i in range(values.size):
        state = status[i]
        low = score(values[i], state, reserve[i], free_scale, cut_scale) <= bound
        new = np.uint8(low) if state < 2 else state
        states[i] = new
        changes = np.int32(changes + (new != state))
    return changes


@njit(cache=True, nogil=True)
def cut_up_to(values, status, reserve, free_scale, cut_scale, bound, state_of_cut):
    states = np.empty(BLOCK, np.uint8)
    for start in range(0, values.size, BLOCK):
        size = min(BLOCK, values.size - start)
        part = slice(start, start + size)
        if not states_by(values[part], status[part], reserve[part], free_scale, cut_scale, bound, states[:size]):
            continue
        for j in range(size):
            i = start + j
            if states[j] == status[i]:
                continue
            if states[j] == 1:
                status[i] = state_of_cut
                reserve[i] = values[i]
                values[i] = ZERO
            else:
                status[i] = 0
                if values[i] == ZERO:
                    values[i] = reserve[i]


@njit(cache=True, nogil=True)
def keys_of(values, status, reserve, free_scale, cut_scale, keys):
    for i in range(values.size):
        state = status[i]
        bits = np.float32(score(values[i], state, reserve[i], free_scale, cut_scale)).view(np.int32)
        keys[i] = bits if state < 2 else np.int32(-1)


@njit(cache=True, nogil=True)
def count(values, status, reserve, counts, free_scale, cut_scale, prefix, shift, width):
    keys = np.empty(BLOCK, np.int32)
    base = prefix << width
    for start in range(0, values.size, BLOCK):
        size = min(BLOCK, values.size - start)
        part = slice(start, start + size)
        keys_of(values[part], status[part], reserve[part], free_scale, cut_scale, keys[:size])
        for i in range(size):
            digit = (keys[i] >> shift) - base
            if 0 <= digit < counts.size:
                counts[digit] += 1


# Vector instructions add up 32-bit sums, which cannot overflow within a block.


@njit(cache=True, nogil=True)
def tally(keys, low):
    below = left_out = nonfinite = SUM
    for i in range(keys.size):
        below = np.int32(below + (keys[i] < low))
        left_out = np.int32(left_out + (keys[i] < 0))
        nonfinite = np.int32(nonfinite + (keys[i] >= INFINITE))
    return below, left_out, nonfinite


@njit(cache=True, nogil=True)
def gather(values, status, reserve, found, places, sums, free_scale, cut_scale, low, high, first):
    """Collects the keys in low..high and their places; counts those below, inside, left out, and infinite or NaN."""
    keys = np.empty(BLOCK, np.int32)
    least, width = np.int32(low), np.uint32(high - low)
    lower = missing = wild = seen = taken = 0
    for start in range(0, values.size, BLOCK):
        size = min(BLOCK, values.size - start)
        part = slice(start, start + size)
        keys[size:] = -1
        keys_of(values[part], status[part], reserve[part], free_scale, cut_scale, keys[:size])
        below, left_out, nonfinite = tally(keys, least)
        lower += below - (BLOCK - size)
        missing += left_out - (BLOCK - size)
        wild += nonfinite
        for strip in range(0, BLOCK, STRIP):
            near = np.int32(0)
            for i in range(STRIP):
                near = np.int32(near + (np.uint32(keys[strip + i] - least) <= width))
            seen += int(near)
            if near == 0 or seen > found.size:
                continue
            for i in range(STRIP):
                key = keys[strip + i]
                if np.uint32(key - least) <= width:
                    found[taken] = key
                    places[taken] = first + start + strip + i
                    taken += 1
    sums[:] = lower, seen, missing, wild


@njit(cache=True, nogil=True)
def freeze(values, status, order, tops, bound, run, levels, start):
    """Freezes free entries above a bound; each ``run`` of entries has the next of the grids, in rotation."""
    clipped = left = 0
    top = tops[0]
    for i in range(values.size):
        if left == 0:
            top = tops[(start + i) // run % tops.size]
            left = run - (start + i) % run
        left -= 1
        if status[i] == 0 and abs(order[i]) > bound:
            status[i] = 2
            # no float32 number is subnormal in float64
            bits = np.float64(abs(values[i])).view(np.int64)
            power = (bits + (1 << 51) >> 52) - 1023
            least = top - levels + 1
            if bits == 0 or (bits >> 52) - 1022 < least:
                values[i] = ZERO
                continue
            clipped += power > top
            nearest = np.int64(max(min(power, top), least) + 1023 << 52).view(np.float64)
            values[i] = np.float32(nearest if values[i] > ZERO else -nearest)
    return clipped


# The same loops, in chunks on all threads.


@njit(cache=True)
def _chunks(size):
    return (size + CHUNK - 1) // CHUNK


@njit(cache=True, parallel=True)
def apply_mask_parallel(weight, mask, out):
    for chunk in prange(_chunks(weight.size)):
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        apply_mask(weight[part], mask[part], out[part])


@njit(cache=True, parallel=True)
def operate_parallel(weight, mask, out, low, high):
    for chunk in prange(_chunks(weight.size)):
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        operate(weight[part], mask[part], out[part], low, high)


@njit(cache=True, parallel=True)
def sgd_parallel(weight, gradient, history, momentum, rate, scale, decay):
    for chunk in prange(_chunks(weight.size)):
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        sgd(weight[part], gradient[part], history[part], momentum, rate, scale, decay)


@njit(cache=True, parallel=True)
def sgd_free_parallel(weight, gradient, history, free, momentum, rate, scale, decay):
    for chunk in prange(_chunks(weight.size)):
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        sgd_free(weight[part], gradient[part], history[part], free[part], momentum, rate, scale, decay)


@njit(cache=True, parallel=True)
def put_back_parallel(values, bits, status, reserve):
    off_grid = 0
    for chunk in prange(_chunks(values.size)):
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        off_grid += put_back(values[part], bits[part], status[part], reserve[part])
    return off_grid


@njit(cache=True, parallel=True)
def take_out_parallel(values, status, reserve):
    for chunk in prange(_chunks(values.size)):
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        take_out(values[part], status[part], reserve[part])


@njit(cache=True, parallel=True)
def cut_up_to_parallel(values, status, reserve, free_scale, cut_scale, bound, state_of_cut):
    for chunk in prange(_chunks(values.size)):
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        cut_up_to(values[part], status[part], reserve[part], free_scale, cut_scale, bound, state_of_cut)


# The same loops, where each part of the entries has its own tables.


@njit(cache=True, parallel=True)
def count_parallel(values, status, reserve, counts, free_scale, cut_scale, prefix, shift, width):
    size = (values.size + counts.shape[0] - 1) // counts.shape[0]
    for number in prange(counts.shape[0]):
        part = slice(number * size, (number + 1) * size)
        mine = values[part], status[part], reserve[part], counts[number]
        count(*mine, free_scale, cut_scale, prefix, shift, width)


@njit(cache=True, parallel=True)
def gather_parallel(values, status, reserve, found, places, sums, free_scale, cut_scale, low, high, first):
    size = (values.size + sums.shape[0] - 1) // sums.shape[0]
    for number in prange(sums.shape[0]):
        part = slice(number * size, (number + 1) * size)
        mine = values[part], status[part], reserve[part], found[number], places[number], sums[number]
        gather(*mine, free_scale, cut_scale, low, high, first + number * size)


@njit(cache=True, parallel=True)
def freeze_parallel(values, status, order, tops, bound, run, levels, start):
    clipped = 0
    for chunk in prange(_chunks(values.size)):
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        clipped += freeze(values[part], status[part], order[part], tops, bound, run, levels, start + chunk * CHUNK)
    return clipped


def set_threads(count: int) -> None:
    """Sets the number of threads for parallel loops, at most as many as numba has."""
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
