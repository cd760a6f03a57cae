"""Rounds each row of a pruned weight; only the columns that the row keeps make up for its errors.

The columns that a row keeps, its support S, have a Hessian of their own, H_SS = R^T R with R upper triangular. Relative
to the best weight on the support, the loss of an error e is ||R e||^2; from the last column to the first, each entry is
chosen so that its term, R_jj e_j + the sum of R_jm e_m over the columns m fixed before, is small.

Reference: Babai 1986, On Lovasz' lattice reduction and the nearest lattice point problem (Combinatorica 6); Chen et al.
2025, The Geometry of LLM Quantization (arXiv 2507.18553): GPTQ is the same on all columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

# (values, (1, rows); what a unit of squared error of each costs, (1, rows)) -> the values to fix
Entries = Callable[[Tensor, Tensor], Tensor]

_AT_ONCE = 1 << 22  # entries of the Hessians of the rows that are rounded together


def multiplications(kept: Tensor) -> float:
    """Returns about how many multiplications :func:`sweep` does, for a mask of shape (groups, rows, columns)."""
    return float(kept.sum(2).double().pow(3).sum()) / 3


def sweep(weight: Tensor, kept: Tensor, hessian: Tensor, importance: Tensor, entries: Entries) -> Tensor:
    """Returns the rounded weight.

    Args:
        weight: (groups, rows, columns), the weight before pruning and rounding.
        kept: bool, the same shape; all other entries of the result are zero.
        hessian: (groups, columns, columns), positive definite; the first columns of a row are fixed first.
        importance: (groups, rows), factors of the rows' losses.
        entries: rounds the best values of a column.
    """
    result, seen = torch.zeros_like(weight), weight @ hessian
    for group, mask in enumerate(kept):
        for rows in _alike(mask.sum(1)):
            result[group, rows] = _rounded(
                seen[group, rows], mask[rows], hessian[group], importance[group, rows], entries
            )
    return result


def _alike(counts: Tensor) -> Iterator[Tensor]:
    """Yields numbers of rows that keep about as many columns; no rows that keep none."""
    order = counts.argsort(stable=True)
    sizes = counts[order].tolist()
    begin = int((counts == 0).sum())
    while begin < len(sizes):
        end = begin + 1
        while end < len(sizes) and (end + 1 - begin) * sizes[end] ** 2 <= _AT_ONCE:
            end += 1
        yield order[begin:end]
        begin = end


def _rounded(seen: Tensor, kept: Tensor, hessian: Tensor, importance: Tensor, entries: Entries) -> Tensor:
    """Returns rounded rows, (rows, columns), from their products with the Hessian."""
    counts = kept.sum(1, keepdim=True)
    width = int(counts.max())
    # the columns of each support, the last one first; rows that keep fewer have others in front, which stay zero
    columns = kept.long().argsort(dim=1, descending=True, stable=True)[:, :width].flip(1)
    others = torch.arange(width - 1, -1, -1, device=kept.device) >= counts
    own = hessian[columns.unsqueeze(2), columns.unsqueeze(1)]
    own = own.masked_fill_(others.unsqueeze(1) | others.unsqueeze(2), 0)
    own.diagonal(dim1=1, dim2=2)[others] = 1
    root = torch.linalg.cholesky(own, upper=True)
    right = seen.gather(1, columns).masked_fill(others, 0)
    best = torch.cholesky_solve(right.unsqueeze(2), root, upper=True).squeeze(2)
    fixed = torch.zeros_like(best)
    for j in range(width - 1, -1, -1):
        pivot = root[:, j, j]
        error = (root[:, j, j + 1 :] * (fixed - best)[:, j + 1 :]).sum(1)
        value = (best[:, j] - error / pivot).unsqueeze(0)
        fixed[:, j] = entries(value, (importance * pivot.square()).unsqueeze(0))[0].masked_fill(others[:, j], 0)
    return torch.zeros_like(seen).scatter(1, columns, fixed)
