"""The second moments of a layer's inputs: what the loss of a layer needs to know of the data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# share of the sum of squares that float32 may lose
_LOST = 1e-6
# rows of the moments that tell how much of them is chance
_TOLD = 512


@dataclass(frozen=True)
class Differences:
    """What the mean moments of one half of the inputs have more than those of the other half: how much is chance.

    Attributes:
        rows: (k,), the rows of the moments that are compared, evenly spaced.
        hessian: (groups, k, columns).
        cross: (groups, k, columns).
        mean: (groups, columns).
        drift: (groups, columns).
    """

    rows: Tensor
    hessian: Tensor
    cross: Tensor
    mean: Tensor
    drift: Tensor


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
        differences: those of the two halves; None if none of it is chance.
    """

    hessian: Tensor
    cross: Tensor
    mean: Tensor
    drift: Tensor
    count: float
    differences: Differences | None = None

    def centred(self) -> InputMoments:
        """Returns the moments about the mean: those of the loss if the layer's shift is always the best one.

        The Hessian stays positive definite if inputs are constant: it gets what rounding of float32 may have cost it.
        """
        outer = self.mean.unsqueeze(2) * self.mean.unsqueeze(1)
        cross = self.drift.unsqueeze(2) * self.mean.unsqueeze(1)
        lost = torch.diag_embed(_LOST * self.hessian.diagonal(dim1=1, dim2=2))
        between = self.differences
        if between is not None:
            mean, moved = self.mean.unsqueeze(1), between.mean.unsqueeze(1)
            at = (slice(None), between.rows, None)
            between = Differences(
                between.rows,
                between.hessian - self.mean[at] * moved - between.mean[at] * mean,
                between.cross - self.drift[at] * moved - between.drift[at] * mean,
                between.mean,
                between.drift,
            )
        return InputMoments(
            self.hessian - self.count * outer + lost,
            self.cross - self.count * cross,
            self.mean,
            self.drift,
            self.count,
            between,
        )

    def steadied(self) -> InputMoments:
        """Returns the moments less what is likely chance: all but their diagonals reduced by a share.

        Correlations that are measured from few inputs are partly chance, which error compensation would fit. The share
        is the variance of the correlations' mean, relative to its square. The variance is measured: half the difference
        of the halves has it. So inputs that are much alike, as those of one image or one sentence, count as fewer.

        Reference: Schaefer and Strimmer 2005, A Shrinkage Approach to Large-Scale Covariance Matrix Estimation
        (Statistical Applications in Genetics and Molecular Biology 4, 32), with the variance by halves instead.
        """
        if self.differences is None:
            return self
        norm = (self.hessian.diagonal(dim1=1, dim2=2) / self.count).clamp(min=0).sqrt()
        norm = torch.where(norm > 0, norm, torch.inf)
        return InputMoments(
            self._steadied(self.hessian, self.differences.hessian, norm),
            self._steadied(self.cross, self.differences.cross, norm),
            self.mean,
            self.drift,
            self.count,
        )

    def _steadied(self, moments: Tensor, difference: Tensor, norm: Tensor) -> Tensor:
        assert self.differences is not None
        rows = self.differences.rows
        scale = norm[:, rows, None] * norm.unsqueeze(1)
        others = (torch.arange(norm.shape[1], device=norm.device) != rows.unsqueeze(1)).to(norm.dtype)
        chance, found = (
            ((one / scale).square() * others).sum((1, 2)) for one in (difference / 2, moments[:, rows] / self.count)
        )
        share = torch.where(chance < found, chance / found.clamp(min=torch.finfo(found.dtype).tiny), 1.0).view(-1, 1, 1)
        return (1 - share) * moments + share * torch.diag_embed(moments.diagonal(dim1=1, dim2=2))


class Moments:
    """Accumulates :class:`InputMoments`, chunk by chunk; the halves of the chunks are the halves of the inputs."""

    def __init__(self) -> None:
        self._sums: tuple[Tensor, ...] = ()
        self._signed: tuple[Tensor, ...] = ()  # the same, the second halves subtracted, for some rows
        self._rows = torch.empty(0, dtype=torch.long)
        self.count = self._more = 0.0

    def add(self, inputs: Tensor, dense: Tensor | None = None, weights: Tensor | None = None) -> None:
        """Adds inputs; the sums are exact in a model's autocast, too.

        Args:
            inputs: (groups, columns, n), the inputs of the compressed model.
            dense: the same inputs of the dense model; None if they are equal.
            weights: (n,), how much each column counts; None if all count 1.
        """
        with torch.autocast(inputs.device.type, enabled=False):
            self._add(inputs, dense, weights)

    def _add(self, inputs: Tensor, dense: Tensor | None, weights: Tensor | None) -> None:
        inputs = inputs.float()
        groups, columns, n = inputs.shape
        if not self._sums:
            self._rows = torch.arange(0, columns, -(-columns // _TOLD), device=inputs.device)
            self._sums, self._signed = (
                tuple(
                    torch.zeros(groups, *sizes, dtype=torch.float64, device=inputs.device)
                    for sizes in ((rows, columns), (rows, columns), (columns,), (columns,))
                )
                for rows in (columns, len(self._rows))
            )
        weights = inputs.new_ones(n) if weights is None else weights
        for sign, half in ((1, slice(n // 2)), (-1, slice(n // 2, n))):
            some, counts = inputs[:, :, half], weights[half]
            weighted = some * counts
            parts = [weighted @ some.mT, None, weighted.sum(2), None]
            if dense is not None:
                left = dense[:, :, half].float() - some
                parts[1], parts[3] = left @ weighted.mT, (left * counts).sum(2)
            for whole, signed, part in zip(self._sums, self._signed, parts, strict=True):
                if part is not None:
                    whole += part
                    signed += sign * (part[:, self._rows] if part.ndim == 3 else part)
            self.count += float(counts.sum())
            self._more += sign * float(counts.sum())

    def statistics(self) -> InputMoments:
        """Returns the moments in float64; at least one chunk must have been added."""
        hessian, cross, total, drift = self._sums
        first, second = (self.count + self._more) / 2, (self.count - self._more) / 2
        sums = hessian[:, self._rows], cross[:, self._rows], total, drift
        differences = (
            # of a single input, all is chance
            (one + signed) / (2 * first) - (one - signed) / (2 * second) if first > 0 < second else 2 * one / self.count
            for one, signed in zip(sums, self._signed, strict=True)
        )
        between = Differences(self._rows, *differences)
        # products in float32 are a little asymmetric, which matters where inputs are nearly constant
        hessian = (hessian + hessian.mT) / 2
        return InputMoments(hessian, cross, total / self.count, drift / self.count, self.count, between)


def loss(error: Tensor, hessian: Tensor) -> Tensor:
    """Returns e H e^T for every row of an error of weights, (groups, rows)."""
    return ((error @ hessian) * error).sum(2)
