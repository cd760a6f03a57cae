"""Calls the compiled loops of :mod:`demitasse.methods.kernels` on tensors, as flat arrays in order of memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

# for smaller arrays, starting threads costs more than they save
PARALLEL_FROM = 1 << 20
_TYPES = (torch.float32, torch.bool, torch.uint8)


def flat(*tensors: Tensor) -> list[np.ndarray] | None:
    """Returns flat views in order of memory; None if the compiled loops cannot be used.

    The loops need dense float32, bool and uint8 tensors on the CPU, all of one shape and in the same order in memory.
    They do not check sizes: they would read and write past the end of a smaller tensor.
    """
    first = tensors[0]
    contiguous = first.is_contiguous()
    if first.device.type != "cpu" or not (contiguous or _is_dense(first)):
        return None
    for tensor in tensors:
        if tensor.dtype not in _TYPES or tensor.shape != first.shape:
            return None
        if tensor.stride() != first.stride() and _strides(tensor) != _strides(first):
            return None
    if contiguous:
        return [tensor.detach().numpy().reshape(-1) for tensor in tensors]
    return [tensor.detach().as_strided((tensor.numel(),), (1,)).numpy() for tensor in tensors]


def _is_dense(tensor: Tensor) -> bool:
    """Returns whether the entries fill their memory without gaps."""
    return 1 + sum((size - 1) * stride for size, stride in _strides(tensor)) == tensor.numel()


def _strides(tensor: Tensor) -> list[tuple[int, int]]:
    """Returns (size, stride) of the axes longer than one; the stride of other axes has no meaning."""
    return [(size, stride) for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size != 1]


def parts(size: int) -> int:
    """Returns the number of parts, one for each thread, that the loops split an array of this size into."""
    return torch.get_num_threads() if size >= PARALLEL_FROM else 1


def run(name: str, arrays: Sequence[np.ndarray], *scalars: float, whole: Sequence[int] = ()) -> int | None:
    """Runs a compiled loop of :mod:`demitasse.methods.kernels` on flat arrays, float32 numbers and whole numbers."""
    with np.errstate(over="ignore"):  # too large a number becomes infinite, as in float32 arithmetic
        numbers = [np.float32(value) for value in scalars]
    threads = parts(arrays[0].size)
    if threads > 1:
        kernels().set_threads(threads)
    found: int | None = getattr(kernels(), f"{name}_parallel" if threads > 1 else name)(*arrays, *numbers, *whole)
    return found


@cache
def kernels() -> ModuleType:
    """Returns the module of compiled loops."""
    # importing numba takes half a second: do it only when it is needed
    from demitasse.methods import kernels

    return kernels
