"""Compiled loops over flat float32 arrays, each in one pass over memory; see :mod:`demitasse.methods.fused`.

Importing this module imports numba; that is why only ``fused`` does, and only when it first needs it. Loops run
from 0, which lets the compiler prove that indices are not negative and use vector instructions.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import numba
import numpy as np
from numba import njit, prange

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


def set_threads(count: int) -> None:
    """Lets parallel loops use ``count`` threads, or as many as numba has."""
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
