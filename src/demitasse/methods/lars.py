"""Layer-wise adaptive rate scaling.

Reference: You, Gitman, Ginsburg 2017, Large Batch Training of Convolutional Networks (arXiv 1708.03888).
"""

from __future__ import annotations

import torch
from torch import Tensor


def local_rate(weight: Tensor, gradient: Tensor, ratio: float, decay: float) -> Tensor:
    """Returns ratio * |w| / (|g| + decay * |w|), or 1 where either norm is 0.

    Reference: You 2017, equation (6).

    Args:
        weight: any shape.
        gradient: same shape.
        ratio: the trust coefficient.
        decay: the weight decay.

    Returns:
        A scalar tensor on the weight's device.
    """
    # squares of half-precision numbers would overflow
    dtype = torch.promote_types(weight.dtype, torch.float32)
    w, g = (torch.linalg.vector_norm(tensor, dtype=dtype) for tensor in (weight, gradient))
    return rate_of_norms(w, g, ratio, decay)


def rate_of_norms(weight: Tensor, gradient: Tensor, ratio: float, decay: float) -> Tensor:
    """Returns the local rate for given norms, of one tensor or a stack of tensors; see :func:`local_rate`."""
    rate = ratio * weight / (gradient + decay * weight)
    return torch.where((weight > 0) & (gradient > 0), rate, torch.ones_like(rate))
