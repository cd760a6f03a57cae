"""Searches the scale between a weight and its codebook."""

from __future__ import annotations

import torch
from torch import Tensor

from demitasse.methods.one_shot.codebooks import nearest


def search(weight: Tensor, curvature: Tensor, codebook: Tensor, candidates: Tensor, shared: bool = False) -> Tensor:
    """Returns for each row the candidate with the least weighted squared error of rounding.

    Args:
        weight: (groups, rows, columns).
        curvature: (groups, rows, columns) or broadcastable: the weight of the squared errors.
        codebook: (entries,).
        candidates: (candidates, groups, rows): the scales to try; a scaled entry is scale * entry.
        shared: whether all rows take the same candidate.

    Returns:
        (groups, rows).

    Reference: PoTPTQ 2025 (arXiv 2507.11959), section 3, which searches scales of powers of two on a grid, too.
    """
    losses = torch.stack([_loss(weight, curvature, codebook, scale.unsqueeze(2)) for scale in candidates])
    if shared:
        return candidates[int(losses.sum((1, 2)).argmin())]
    return candidates.gather(0, losses.argmin(0, keepdim=True))[0]


def _loss(weight: Tensor, curvature: Tensor, codebook: Tensor, scale: Tensor) -> Tensor:
    rounded = codebook.to(weight.dtype)[nearest(weight / scale, codebook)] * scale
    return ((weight - rounded).square() * curvature).sum(2)


def best(weight: Tensor, fixed: Tensor, hessian: Tensor) -> Tensor:
    """Returns for each row the factor a that minimizes (a q - w) H (a q - w)^T; 1 where q is zero.

    Args:
        weight: w, (groups, rows, columns).
        fixed: q, the same shape.
        hessian: (groups, columns, columns).
    """
    seen = fixed @ hessian
    over, under = (seen * weight).sum(2), (seen * fixed).sum(2)
    return torch.where((under > 0) & (over > 0), over / under.clamp(min=torch.finfo(under.dtype).tiny), 1.0)
