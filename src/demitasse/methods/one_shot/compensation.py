"""Rounds a weight column by column; the later columns make up for the error of each one.

The loss of a row w' is (w' - w) H (w' - w)^T. Once column j is fixed, the best change of the columns after it is
-(w_j - w'_j) / [H^-1]_jj times row j of H^-1, the inverse being that of the columns from j on. All these inverses are
in the Cholesky factor of the inverse of H.

Reference: Hassibi and Stork 1993, Optimal Brain Surgeon; Frantar, Ashkboos, Hoefler, Alistarh 2022, GPTQ
(arXiv 2210.17323), section 3.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# (values of a column, (groups, rows); index of the column; curvature there, (groups,)) -> the values to fix
Choose = Callable[[Tensor, int, Tensor], Tensor]

BLOCK = 64


def damped(hessian: Tensor, damping: float) -> Tensor:
    """Returns the Hessian with a share of its mean diagonal added to the diagonal.

    Inputs that are always zero get the damping alone, or 1 if all inputs are zero: their weights have no effect. Where
    rounding has left a Hessian of nearly constant inputs indefinite, the diagonal gets as much more as it takes.

    Args:
        hessian: (groups, columns, columns).
        damping: the share, such as 0.01.

    Reference: Frantar 2022, section 3.3.
    """
    mean = hessian.diagonal(dim1=1, dim2=2).mean(1)
    added = torch.where(mean > 0, damping * mean, 1.0)
    while bool((is_indefinite := torch.linalg.cholesky_ex(_with_diagonal(hessian, added / 2)).info != 0).any()):
        added = torch.where(is_indefinite, 10 * added, added)
    return _with_diagonal(hessian, added)


def _with_diagonal(hessian: Tensor, added: Tensor) -> Tensor:
    return hessian + torch.diag_embed(added.unsqueeze(1).expand(hessian.shape[:2]))


def inverse_factor(hessian: Tensor) -> Tensor:
    """Returns U, upper triangular, with H^-1 = U^T U; U_jj^2 is [H^-1]_jj of the columns from j on.

    Args:
        hessian: (groups, columns, columns), positive definite.
    """
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor


def sweep(weight: Tensor, factor: Tensor, choose: Choose, block: int = BLOCK) -> Tensor:
    """Fixes column after column and returns the fixed weight.

    Args:
        weight: (groups, rows, columns).
        factor: see :func:`inverse_factor`.
        choose: returns the values of a column from those that would be best; its curvature is 1 / U_jj^2.
        block: number of columns after which the rest of the weight is updated.

    Reference: Frantar 2022, algorithm 1.
    """
    left, result = weight.clone(), torch.empty_like(weight)
    columns = weight.shape[2]
    for begin in range(0, columns, block):
        end = min(begin + block, columns)
        near, errors = left[:, :, begin:end].clone(), torch.empty_like(left[:, :, begin:end])
        for j in range(begin, end):
            pivot = factor[:, j, j]
            value = near[:, :, j - begin]
            fixed = choose(value, j, 1 / pivot.square())
            error = (value - fixed) / pivot.unsqueeze(1)
            result[:, :, j] = fixed
            errors[:, :, j - begin] = error
            near[:, :, j - begin + 1 :] -= error.unsqueeze(2) * factor[:, None, j, j + 1 : end]
        left[:, :, end:] -= errors @ factor[:, begin:end, end:]
    return result


def refine(weight: Tensor, fixed: Tensor, hessian: Tensor, choose: Choose, block: int = BLOCK) -> Tensor:
    """Chooses every column once more, given all others, and returns the new fixed weight; the loss never rises.

    Args:
        weight: (groups, rows, columns), what the fixed weight stands for.
        fixed: the same shape, such as :func:`sweep` returns it.
        hessian: (groups, columns, columns).
        choose: as for :func:`sweep`; its curvature is H_jj.
        block: number of columns after which the gradient of the rest is updated.

    Reference: Behdin et al. 2023, QuantEase (arXiv 2309.01885), section 3: cyclic coordinate descent.
    """
    fixed = fixed.clone()
    gradient = (fixed - weight) @ hessian
    columns = weight.shape[2]
    for begin in range(0, columns, block):
        end = min(begin + block, columns)
        near, before = gradient[:, :, begin:end].clone(), fixed[:, :, begin:end].clone()
        for j in range(begin, end):
            curvature = hessian[:, j, j]
            value = fixed[:, :, j]
            chosen = choose(value - near[:, :, j - begin] / curvature.unsqueeze(1), j, curvature)
            near += (chosen - value).unsqueeze(2) * hessian[:, None, j, begin:end]
            fixed[:, :, j] = chosen
        gradient += (fixed[:, :, begin:end] - before) @ hessian[:, begin:end, :]
    return fixed


def towards_dense(weight: Tensor, cross: Tensor, hessian: Tensor) -> Tensor:
    """Returns the weight that does best what the dense one did with the dense model's inputs, W + W C H^-1.

    Args:
        weight: (groups, rows, columns), the dense weight W.
        cross: C, sum of (x - x') x'^T.
        hessian: H, sum of x' x'^T, positive definite.

    Reference: Li et al. 2025, GPTAQ (arXiv 2504.02692), section 3, which minimizes the same loss.
    """
    return weight + torch.cholesky_solve((weight @ cross).mT, torch.linalg.cholesky(hessian)).mT
