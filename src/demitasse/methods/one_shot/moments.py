"""The second moments of a layer's inputs: what the loss of a layer needs to know of the data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# share of the sum of squares that float32 may lose
_LOST = 1e-6


@dataclass(frozen=True)
class InputMoments:
    """Moments of the inputs of a layer, as sums over all columns of inputs, or weighted ones.

    With x the inputs of the dense model, x' those that the compressed part of the model gives, and W the dense weight,
    the loss of a weight W' is the sum of ||W x - W' x'||^2.

    Attributes:
        hessian: (groups, columns, columns), sum of x' x'^T; half the second derivative of the loss by a row.
        cross: (groups, columns, columns), sum of (x - x') x'^T.
        mean: (groups, columns), mean of x'.
        drift: (groups, columns), mean of x - x'.
        count: number of columns of inputs, or the sum of their weights.
    """

    hessian: Tensor
    cross: Tensor
    mean: Tensor
    drift: Tensor
    count: float

    def centred(self) -> InputMoments:
        """Returns the moments about the mean: those of the loss if the layer's shift is always the best one.

        The Hessian stays positive definite if inputs are constant: it gets what rounding of float32 may have cost it.
        """
        outer = self.mean.unsqueeze(2) * self.mean.unsqueeze(1)
        cross = self.drift.unsqueeze(2) * self.mean.unsqueeze(1)
        lost = torch.diag_embed(_LOST * self.hessian.diagonal(dim1=1, dim2=2))
        return InputMoments(
            self.hessian - self.count * outer + lost, self.cross - self.count * cross, self.mean, self.drift, self.count
        )


class Moments:
    """Accumulates :class:`InputMoments`, chunk by chunk."""

    def __init__(self) -> None:
        self._sums: tuple[Tensor, ...] = ()
        self.count = 0.0

    def add(self, inputs: Tensor, dense: Tensor | None = None, weights: Tensor | None = None) -> None:
        """Adds inputs.

        Args:
            inputs: (groups, columns, n), the inputs of the compressed model.
            dense: the same inputs of the dense model; None if they are equal.
            weights: (n,), how much each column counts; None if all count 1.
        """
        inputs = inputs.float()
        if not self._sums:
            groups, columns, _ = inputs.shape
            self._sums = tuple(
                torch.zeros(groups, *sizes, dtype=torch.float64, device=inputs.device)
                for sizes in ((columns, columns), (columns, columns), (columns,), (columns,))
            )
        hessian, cross, total, drift = self._sums
        weighted = inputs if weights is None else inputs * weights
        hessian += weighted @ inputs.mT
        total += weighted.sum(2)
        if dense is not None:
            difference = dense.float() - inputs
            cross += difference @ weighted.mT
            drift += (difference if weights is None else difference * weights).sum(2)
        self.count += inputs.shape[2] if weights is None else float(weights.sum())

    def statistics(self) -> InputMoments:
        """Returns the moments in float64; at least one chunk must have been added."""
        hessian, cross, total, drift = self._sums
        return InputMoments(hessian, cross, total / self.count, drift / self.count, self.count)


def shrinkage(hessian: Tensor, count: float) -> Tensor:
    """Returns by which share correlations between columns are to be reduced, (groups,): more for fewer inputs.

    The correlations R of few inputs are partly chance, which error compensation would fit. They become (1 - r) R, with
    r = ((1 - 2 / p) tr(R^2) + p^2) / ((n + 1 - 2 / p) (tr(R^2) - p)) for p columns and n inputs, at most 1.

    Args:
        hessian: (groups, columns, columns).
        count: n, the number of columns of inputs that it is a sum over.

    Reference: Chen, Wiesel, Eldar and Hero 2010, Shrinkage Algorithms for MMSE Covariance Estimation (arXiv 0907.4698),
    equation (23), applied to correlations.
    """
    columns = hessian.shape[1]
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    norm = diagonal.clamp(min=0).sqrt()
    norm = torch.where(norm > 0, norm, torch.inf)
    squares = (hessian / norm.unsqueeze(1) / norm.unsqueeze(2)).square().sum((1, 2))
    lost = (1 - 2 / columns) * squares + columns**2
    share = lost / ((count + 1 - 2 / columns) * (squares - columns).clamp(min=torch.finfo(squares.dtype).eps))
    return share.clamp(max=1.0)


def shrunk(moments: Tensor, share: Tensor) -> Tensor:
    """Returns moments, (groups, columns, columns), with all but their diagonal reduced by a share, (groups,)."""
    share = share.view(-1, 1, 1)
    return (1 - share) * moments + share * torch.diag_embed(moments.diagonal(dim1=1, dim2=2))


def loss(error: Tensor, hessian: Tensor) -> Tensor:
    """Returns e H e^T for every row of an error of weights, (groups, rows)."""
    return ((error @ hessian) * error).sum(2)
