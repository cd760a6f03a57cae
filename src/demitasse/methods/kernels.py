"""Compiled loops over flat float32 arrays, each in one pass over memory; see :mod:`demitasse.methods.fused`.

Importing this module imports numba; that is why only ``fused`` does, and only when it first needs it. Loops run
from 0, which lets the compiler prove that indices are not negative and use vector instructions.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import numba
import numpy as np
from numba import prange

from demitasse.loops import njit

CHUNK = 1 << 15
ZERO = np.float32(0)


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


# Of compressed parameters: states are FREE 0, CUT 1, FROZEN 2, PRUNED 3, as in demitasse.methods.exchange.


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


@njit(cache=True, nogil=True)
def score(value, state, hidden, free_scale, cut_scale):
    if state == 3:
        return ZERO
    if state == 1:
        return abs(hidden if value == ZERO else value) * cut_scale
    return abs(value) * free_scale


@njit(cache=True, nogil=True)
def cut_up_to(values, status, reserve, free_scale, cut_scale, bound, state_of_cut):
    for i in range(values.size):
        state = status[i]
        if state >= 2:
            continue
        cut = score(values[i], state, reserve[i], free_scale, cut_scale) <= bound
        if cut and state == 0:
            status[i] = state_of_cut
            reserve[i] = values[i]
            values[i] = ZERO
        elif state == 1 and not cut:
            status[i] = 0
            if values[i] == ZERO:
                values[i] = reserve[i]


@njit(cache=True, nogil=True)
def count_scores(values, status, reserve, free_scale, cut_scale, prefix, shift, width, counts):
    mask = (1 << width) - 1
    for i in range(values.size):
        if status[i] == 2:
            continue
        bits = np.float32(score(values[i], status[i], reserve[i], free_scale, cut_scale)).view(np.int32)
        if bits >> (shift + width) == prefix:
            counts[(bits >> shift) & mask] += 1


# The same in chunks on all threads.


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


def set_threads(count: int) -> None:
    """Lets parallel loops use ``count`` threads, or as many as numba has."""
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
