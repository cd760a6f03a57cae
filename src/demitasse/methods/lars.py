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
    w, g = torch.linalg.vector_norm(weight), torch.linalg.vector_norm(gradient)
    return torch.where((w > 0) & (g > 0), ratio * w / (g + decay * w), 1.0)
