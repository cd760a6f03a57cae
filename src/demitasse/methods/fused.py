"""Passes over all weights of a tensor that are worth one loop: masks with effective values, and the SGD step.

On a CPU they run as compiled loops over float32 (:mod:`demitasse.methods.kernels`), elsewhere as torch
operations with the same results. Tensors are changed in place, and autograd is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from types import ModuleType

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from demitasse.methods import surgery

# below, waking threads costs more than they save
_PARALLEL_FROM = 1 << 20
_TYPES = (torch.float32, torch.bool)


@torch.no_grad()
def apply_mask(weight: Tensor, mask: Tensor, out: Tensor) -> None:
    """Writes weight * mask to ``out``.

    Args:
        weight: any shape.
        mask: bool, same shape, True = kept.
        out: like ``weight``.
    """
    arrays = _flat(weight, mask, out)
    if arrays is None:
        out.copy_(torch.where(mask, weight, 0))
        return
    _run("apply_mask", arrays)
    increment_version(out)


@torch.no_grad()
def operate(weight: Tensor, mask: Tensor, out: Tensor, low: float, high: float) -> None:
    """Decides on the mask and writes weight * mask to ``out``; see :func:`demitasse.methods.surgery.decide`.

    Args:
        weight: any shape.
        mask: bool, same shape, True = kept; changed.
        out: like ``weight``.
        low: kept entries up to it are cut.
        high: cut entries above it come back.
    """
    arrays = _flat(weight, mask, out)
    if arrays is None:
        mask.copy_(surgery.decide(weight, mask, low, high))
        out.copy_(torch.where(mask, weight, 0))
        return
    _run("operate", arrays, low, high)
    increment_version((mask, out))


@torch.no_grad()
def sgd(
    weight: Tensor,
    gradient: Tensor,
    history: Tensor,
    *,
    momentum: float,
    rate: float,
    scale: float = 1.0,
    decay: float = 0.0,
    free: Tensor | None = None,
) -> None:
    """Takes a step of SGD: v <- momentum * v + rate * (scale * g + decay * w); w <- w - v.

    Args:
        weight: w, any shape; changed.
        gradient: g, same shape.
        history: v, same shape; changed. The learning rate is inside, unlike in torch.optim.SGD.
        momentum: share of the history that stays.
        rate: learning rate of this tensor.
        scale: factor of the gradient.
        decay: weight decay of this tensor.
        free: bool, same shape; where False the weight stays as it is and its history becomes 0.
    """
    tensors = (weight, gradient, history) if free is None else (weight, gradient, history, free)
    arrays = _flat(*tensors)
    if arrays is None:
        history.mul_(momentum).add_(gradient * scale + weight * decay, alpha=rate)
        if free is not None:
            history.masked_fill_(~free, 0)
        weight.sub_(history)
        return
    _run("sgd" if free is None else "sgd_free", arrays, momentum, rate, scale, decay)
    increment_version((weight, history))


def _flat(*tensors: Tensor) -> list[np.ndarray] | None:
    """Returns flat views in order of memory; None where the compiled loops do not apply.

    They need dense float32 and bool tensors on the CPU that all lie in memory in the same order.
    """
    first = tensors[0]
    contiguous = first.is_contiguous()
    if first.device.type != "cpu" or not (contiguous or _is_dense(first)):
        return None
    for tensor in tensors:
        if tensor.dtype not in _TYPES or (tensor.stride() != first.stride() and _strides(tensor) != _strides(first)):
            return None
    if contiguous:
        return [tensor.detach().numpy().reshape(-1) for tensor in tensors]
    return [tensor.detach().as_strided((tensor.numel(),), (1,)).numpy() for tensor in tensors]


def _is_dense(tensor: Tensor) -> bool:
    """Returns whether the entries fill a stretch of memory without gaps."""
    return 1 + sum((size - 1) * stride for size, stride in _strides(tensor)) == tensor.numel()


def _strides(tensor: Tensor) -> list[tuple[int, int]]:
    """Returns (size, stride) of the axes that are longer than one; the stride of others says nothing."""
    return [(size, stride) for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size != 1]


def _run(name: str, arrays: Sequence[np.ndarray], *scalars: float) -> None:
    numbers = [np.float32(value) for value in scalars]
    threads = torch.get_num_threads()
    if arrays[0].size < _PARALLEL_FROM or threads == 1:
        getattr(_kernels(), name)(*arrays, *numbers)
    else:
        _kernels().set_threads(threads)
        getattr(_kernels(), f"{name}_parallel")(*arrays, *numbers)


@cache
def _kernels() -> ModuleType:
    # numba takes half a second to import: only when it is needed
    from demitasse.methods import kernels

    return kernels
