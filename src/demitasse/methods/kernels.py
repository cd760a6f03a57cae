"""Compiled loops over flat float32 arrays, each in one pass over memory; see :mod:`demitasse.methods.fused`.

Importing this module imports numba; that is why only ``fused`` does, and only when it first needs it.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import numba
from numba import njit, prange

CHUNK = 1 << 15


@njit(cache=True, nogil=True)
def apply_mask(weight, mask, out, start, stop):
    for i in range(start, stop):
        out[i] = weight[i] if mask[i] else numba.float32(0)


@njit(cache=True, nogil=True)
def operate(weight, mask, out, low, high, start, stop):
    for i in range(start, stop):
        bound = low if mask[i] else high
        keep = not (abs(weight[i]) <= bound)
        mask[i] = keep
        out[i] = weight[i] if keep else numba.float32(0)


@njit(cache=True, nogil=True)
def sgd(weight, gradient, history, momentum, rate, scale, decay, start, stop):
    for i in range(start, stop):
        v = momentum * history[i] + rate * (scale * gradient[i] + decay * weight[i])
        history[i] = v
        weight[i] -= v


@njit(cache=True, nogil=True)
def sgd_free(weight, gradient, history, free, momentum, rate, scale, decay, start, stop):
    for i in range(start, stop):
        v = momentum * history[i] + rate * (scale * gradient[i] + decay * weight[i])
        v = v if free[i] else numba.float32(0)
        history[i] = v
        weight[i] -= v


# The same on all threads. A loop is written twice because numba's cache cannot tell two compilations of one.


@njit(cache=True, parallel=True)
def apply_mask_parallel(weight, mask, out):
    for chunk in prange((weight.size + CHUNK - 1) // CHUNK):
        apply_mask(weight, mask, out, chunk * CHUNK, min((chunk + 1) * CHUNK, weight.size))


@njit(cache=True, parallel=True)
def operate_parallel(weight, mask, out, low, high):
    for chunk in prange((weight.size + CHUNK - 1) // CHUNK):
        operate(weight, mask, out, low, high, chunk * CHUNK, min((chunk + 1) * CHUNK, weight.size))


@njit(cache=True, parallel=True)
def sgd_parallel(weight, gradient, history, momentum, rate, scale, decay):
    for chunk in prange((weight.size + CHUNK - 1) // CHUNK):
        start, stop = chunk * CHUNK, min((chunk + 1) * CHUNK, weight.size)
        sgd(weight, gradient, history, momentum, rate, scale, decay, start, stop)


@njit(cache=True, parallel=True)
def sgd_free_parallel(weight, gradient, history, free, momentum, rate, scale, decay):
    for chunk in prange((weight.size + CHUNK - 1) // CHUNK):
        start, stop = chunk * CHUNK, min((chunk + 1) * CHUNK, weight.size)
        sgd_free(weight, gradient, history, free, momentum, rate, scale, decay, start, stop)
