"""Operations fused into one pass over a tensor: masks with effective values, and the step of SGD.

On a CPU and in float32 they are compiled loops (:mod:`demitasse.methods.kernels`), elsewhere torch operations with
the same results. They change tensors in place and increment their versions, as autograd expects.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from demitasse.methods import surgery
from demitasse.methods.compiled import flat, run


@torch.no_grad()
def apply_mask(weight: Tensor, mask: Tensor, out: Tensor) -> None:
    """Writes weight * mask to ``out``.

    Args:
        weight: any shape.
        mask: bool, same shape, True = kept.
        out: like ``weight``.
    """
    arrays = flat(weight, mask, out)
    if arrays is None:
        out.copy_(torch.where(mask, weight, 0))
        return
    run("apply_mask", arrays)
    increment_version(out)


@torch.no_grad()
def operate(weight: Tensor, mask: Tensor, out: Tensor, low: float, high: float) -> None:
    """Updates the mask and writes weight * mask to ``out``; see :func:`demitasse.methods.surgery.decide`.

    Args:
        weight: any shape.
        mask: bool, same shape, True = kept; changed.
        out: like ``weight``.
        low: kept entries up to this magnitude are cut.
        high: cut entries above this magnitude are spliced back.
    """
    arrays = flat(weight, mask, out)
    if arrays is None:
        mask.copy_(surgery.decide(weight, mask, low, high))
        out.copy_(torch.where(mask, weight, 0))
        return
    run("operate", arrays, low, high)
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
        history: v, same shape; changed. It includes the learning rate, unlike in torch.optim.SGD.
        momentum: factor of the history.
        rate: learning rate of this tensor.
        scale: factor of the gradient.
        decay: weight decay of this tensor.
        free: bool, same shape; where it is False, the weight does not change and its history becomes 0.
    """
    tensors = (weight, gradient, history) if free is None else (weight, gradient, history, free)
    arrays = flat(*tensors)
    if arrays is None:
        history.mul_(momentum).add_(gradient * scale + weight * decay, alpha=rate)
        if free is not None:
            history.masked_fill_(~free, 0)
        weight.sub_(history)
        return
    run("sgd" if free is None else "sgd_free", arrays, momentum, rate, scale, decay)
    increment_version((weight, history))
