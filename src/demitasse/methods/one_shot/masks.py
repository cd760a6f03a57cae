"""Chooses which weights to keep, and makes the kept ones do the work of the others."""

from __future__ import annotations

import torch
from torch import Tensor

from demitasse.methods.one_shot.compensation import BLOCK

TURNS = 32
_MORE_TURNS = 8


def saliency(weight: Tensor, factor: Tensor) -> Tensor:
    """Returns w^2 / [H^-1]_jj of every weight, the loss of its removal when later columns make up for it.

    Args:
        weight: (groups, rows, columns).
        factor: see :func:`demitasse.methods.one_shot.compensation.inverse_factor`.

    Reference: Frantar and Alistarh 2023, SparseGPT (arXiv 2301.00774), section 3.2.
    """
    return weight.square() / factor.diagonal(dim1=1, dim2=2).square().unsqueeze(1)


def smallest(scores: Tensor, count: int) -> Tensor:
    """Returns a mask of ``count`` entries with the smallest scores; of equal ones the first."""
    mask = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    mask[scores.flatten().sort(stable=True).indices[:count]] = True
    return mask.view_as(scores)


def choose(
    weight: Tensor, factor: Tensor, count: int, importance: Tensor, cut: Tensor | None = None, block: int = BLOCK
) -> Tensor:
    """Returns which weights to cut: block after block of columns, the later blocks make up for the earlier ones.

    Every block cuts the same share of its weights.

    Args:
        weight: (groups, rows, columns).
        factor: see :func:`demitasse.methods.one_shot.compensation.inverse_factor`.
        count: number of weights to cut in all.
        importance: (groups, rows), factors of the rows' losses.
        cut: the weights that are cut in any case.
        block: number of columns.

    Reference: Frantar and Alistarh 2023, SparseGPT, section 3.2 and algorithm 1.
    """
    left = weight.clone()
    mask = torch.zeros_like(weight, dtype=torch.bool) if cut is None else cut.clone()
    columns, done = weight.shape[2], 0
    for begin in range(0, columns, block):
        end = min(begin + block, columns)
        near = left[:, :, begin:end].clone()
        scores = saliency(near, factor[:, begin:end, begin:end]) * importance.unsqueeze(2)
        scores[mask[:, :, begin:end]] = -1
        wanted = round(count * end / columns)
        here = smallest(scores, max(wanted - done, int(mask[:, :, begin:end].sum())))
        mask[:, :, begin:end] = here
        done += int(here.sum())
        errors = torch.empty_like(near)
        for j in range(begin, end):
            value = near[:, :, j - begin]
            error = torch.where(here[:, :, j - begin], value, 0.0) / factor[:, j, j].unsqueeze(1)
            errors[:, :, j - begin] = error
            near[:, :, j - begin + 1 :] -= error.unsqueeze(2) * factor[:, None, j, j + 1 : end]
        left[:, :, end:] -= errors @ factor[:, begin:end, end:]
    return mask


def sought(
    weight: Tensor, hessian: Tensor, count: int, importance: Tensor, cut: Tensor | None = None, turns: int = TURNS
) -> Tensor:
    """Returns which weights to cut, by the alternating direction method of multipliers.

    A turn solves for all weights at once, pulled towards the pruned ones, then cuts the smallest ones; what it cuts
    counts in the next turns. The number of cut weights grows to its target with falling steps; then the mask may change
    a few times more. Columns are scaled so that the diagonal of H is 1.

    Args:
        weight: (groups, rows, columns).
        hessian: (groups, columns, columns), positive definite.
        count: number of weights to cut in all.
        importance: (groups, rows), factors of the rows' losses.
        cut: the weights that are cut in any case.
        turns: number of turns until the target is reached; a turn multiplies the weight with one matrix.

    Returns:
        bool, the mask of the last turn.

    Reference: Boza 2024, Fast and Optimal Weight Update (arXiv 2401.02938), sections 3.2 and 3.3.
    """
    first = torch.zeros_like(weight, dtype=torch.bool) if cut is None else cut
    least = int(first.sum())
    norm = hessian.diagonal(dim1=1, dim2=2).sqrt()
    scaled = (hessian / norm.unsqueeze(1) / norm.unsqueeze(2)).double()
    inverse = torch.linalg.inv(scaled + torch.eye(scaled.shape[1], device=scaled.device, dtype=scaled.dtype)).float()
    # (W H + Z - U) (H + 1)^-1, the solution that is pulled towards the pruned weight Z less the multipliers U
    dense = weight.float() * norm.unsqueeze(1).float()
    dense = dense - dense @ inverse
    pruned, multipliers = torch.where(first, 0.0, weight.float() * norm.unsqueeze(1).float()), torch.zeros_like(dense)
    mask = first
    for turn in range(1, turns + _MORE_TURNS + 1):
        ahead = dense + (pruned - multipliers) @ inverse + multipliers
        scores = ahead.square() * importance.unsqueeze(2).float()
        scores[first] = -1
        left = max(0.0, 1 - turn / turns)
        mask = smallest(scores, max(round(count * (1 - left**3)), least))
        pruned = torch.where(mask, 0.0, ahead)
        multipliers = ahead - pruned
    return mask


def fitted(weight: Tensor, kept: Tensor, hessian: Tensor, steps: int = 100, tolerance: float = 1e-8) -> Tensor:
    """Returns the weight with the least loss that is zero where it is not kept.

    Solves every row's normal equations by conjugate gradients, preconditioned by the diagonal.

    Args:
        weight: (groups, rows, columns), what to stand for.
        kept: bool, the same shape.
        hessian: (groups, columns, columns), positive definite.
        steps: the most steps.
        tolerance: of the squared residual, relative to the first one.

    Reference: Boza 2024, Fast and Optimal Weight Update (arXiv 2401.02938), the same problem, solved there by ADMM.
    """
    found = torch.where(kept, weight, 0.0)
    diagonal = hessian.diagonal(dim1=1, dim2=2).unsqueeze(1)
    residual = torch.where(kept, (weight - found) @ hessian, 0.0)
    scaled = residual / diagonal
    direction, size = scaled, (residual * scaled).sum(2, keepdim=True)
    enough = tolerance * size.max()
    for _ in range(steps):
        if not size.max() > enough:
            break
        ahead = torch.where(kept, direction @ hessian, 0.0)
        curvature = (direction * ahead).sum(2, keepdim=True)
        length = torch.where(curvature > 0, size / curvature.clamp(min=torch.finfo(size.dtype).tiny), 0.0)
        found = found + length * direction
        residual = residual - length * ahead
        scaled = residual / diagonal
        after = (residual * scaled).sum(2, keepdim=True)
        direction = (
            scaled + torch.where(size > 0, after / size.clamp(min=torch.finfo(size.dtype).tiny), 0.0) * direction
        )
        size = after
    return found
