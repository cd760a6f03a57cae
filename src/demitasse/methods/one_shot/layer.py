"""Compresses the weight of one layer: mask, scales, rounding with compensation, refinement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from demitasse.methods.one_shot import codebooks, masks, rate, scales, supports
from demitasse.methods.one_shot.compensation import Choose, damped, inverse_factor, refine, sweep, towards_dense
from demitasse.methods.one_shot.moments import InputMoments, loss
from demitasse.methods.one_shot.supports import Entries
from demitasse.methods.one_shot.swaps import swapped

GridKind = Literal["pow2", "uniform"]
Per = Literal["tensor", "channel"]

DAMPING = 0.01
_REFINEMENTS = 3  # passes over the columns after the first one
_STEPS = 30  # of conjugate gradients for the values that choose the scales
_SOUGHT = 1 << 34  # multiplications of a turn up to which masks are sought by turns
_OWN = 1 << 36  # multiplications up to which each row is rounded with a factor of its own
_DOUBLE = 1024  # columns up to which the sweeps run in float64


@dataclass(frozen=True)
class Grid:
    """The values that a weight may take.

    Attributes:
        kind: ``pow2``, zero and powers of two; ``uniform``, whole numbers times a step.
        levels: how many values of each sign; None for as many as the price makes worthwhile, for ``uniform``.
        per: whether the range or step is that of the tensor or of each channel.
    """

    kind: GridKind
    levels: int | None
    per: Per = "tensor"

    def codebook(self) -> Tensor:
        """Returns the values in units of the scale, sorted, float64.

        Raises:
            TypeError: the number of levels is left open.
        """
        if self.levels is None:
            raise TypeError("expected a grid with a number of levels")
        return codebooks.powers(0, self.levels) if self.kind == "pow2" else codebooks.integers(self.levels)


@dataclass(frozen=True)
class Freedom:
    """What follows the product of a layer and takes up a change of its outputs.

    Attributes:
        shift: whether a constant for each output can be corrected, as a bias can.
        scale: whether a factor for each output can be corrected, as a batch normalization can.
    """

    shift: bool = False
    scale: bool = False


@dataclass(frozen=True)
class Compressed:
    """A compressed weight.

    Attributes:
        weight: (groups, rows, columns), the values to store.
        factor: (groups, rows), by which the outputs are to be multiplied; 1 without freedom of scale.
        shift: (groups, rows), to add to the multiplied outputs, so that their means are those of the dense layer.
        loss: (groups, rows), mean squared error of the outputs.
        energy: (groups, rows), mean square of the dense outputs.
    """

    weight: Tensor
    factor: Tensor
    shift: Tensor
    loss: Tensor
    energy: Tensor


def compress(
    weight: Tensor,
    statistics: InputMoments,
    importance: Tensor,
    *,
    grid: Grid | None = None,
    cut: int = 0,
    zeros: Tensor | None = None,
    price: float = 0.0,
    freedom: Freedom = Freedom(),
    damping: float = DAMPING,
    asymmetry: float = 1.0,
) -> Compressed:
    """Compresses a weight so that its layer computes nearly what it did with the dense inputs.

    Args:
        weight: (groups, rows, columns), the dense weight.
        statistics: the moments of the inputs.
        importance: (groups, rows): what a unit of mean squared error of each output costs the model.
        grid: the values to round to; None to prune only.
        cut: number of weights to cut, those of ``zeros`` included.
        zeros: bool, which weights stay zero.
        price: what a bit costs, in the same unit as ``importance``; 0 for rounding without regard to the bits.
        freedom: what follows the layer.
        damping: see :func:`demitasse.methods.one_shot.compensation.damped`.
        asymmetry: share of the correction towards the dense outputs, 0 to 1; see
            :func:`demitasse.methods.one_shot.compensation.towards_dense`.
    """
    kind = torch.float64 if weight.shape[2] <= _DOUBLE else torch.float32
    used = statistics.centred() if freedom.shift else statistics
    steadied = used.steadied()
    hessian = damped(steadied.hessian / used.count, damping)
    dense = weight.double()
    target = towards_dense(dense, asymmetry * steadied.cross / used.count, hessian)
    energy = loss(dense, used.hessian / used.count)
    # the column with the largest inputs comes first, when all others can still make up for it
    order = hessian.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True, stable=True)
    sorted_hessian = _permuted(hessian, order)
    first = torch.zeros_like(dense, dtype=torch.bool) if zeros is None else _columns(zeros, order)
    job = _Job(
        _columns(target, order).to(kind),
        sorted_hessian.to(kind),
        inverse_factor(sorted_hessian).to(kind),
        importance.to(kind),
        first,
        first,
        weight.dtype,
    )
    if cut > int(job.cut.sum()):
        if job.target.numel() * weight.shape[2] <= _SOUGHT:
            job.cut = masks.sought(job.target, job.hessian, cut, job.importance, job.cut)
        else:
            job.cut = masks.choose(job.target, job.factor, cut, job.importance, job.cut)
    if grid is None:
        values, factor = masks.fitted(job.target, ~job.cut, job.hessian), torch.ones_like(job.importance)
    else:
        values, factor = _quantized(job, grid, price, freedom.scale)
    values, factor = _columns(values, order.argsort(dim=1)).double(), factor.double()
    effective = values * factor.unsqueeze(2)
    mean = statistics.mean + statistics.drift
    shift = (dense @ mean.unsqueeze(2) - effective @ statistics.mean.unsqueeze(2)).squeeze(2)
    error = loss(effective - target, used.hessian / used.count)
    return Compressed(values, factor, shift if freedom.shift else torch.zeros_like(shift), error, energy)


@dataclass
class _Job:
    """A layer in the order of its columns' importance.

    What its weight is to stand for, H, the factor of its inverse, the importance of its rows, the masks of what is cut
    in any case and of all that is cut, and the type that stores its weight.
    """

    target: Tensor
    hessian: Tensor
    factor: Tensor
    importance: Tensor
    zeros: Tensor
    cut: Tensor
    stored: torch.dtype


def _columns(matrix: Tensor, order: Tensor) -> Tensor:
    return matrix.gather(2, order.unsqueeze(1).expand_as(matrix))


def _permuted(hessian: Tensor, order: Tensor) -> Tensor:
    rows = hessian.gather(1, order.unsqueeze(2).expand_as(hessian))
    return rows.gather(2, order.unsqueeze(1).expand_as(hessian))


def _quantized(job: _Job, grid: Grid, price: float, free: bool) -> tuple[Tensor, Tensor]:
    """Returns the stored values, and the factors of the outputs."""
    codebook, scale, unit = _scaled(job, grid, price, free)
    codebook = codebook.to(job.target.dtype)
    values = torch.zeros_like(job.target)
    for turn in range(1 + _REFINEMENTS):
        normal, weights = job.target / scale.unsqueeze(2), job.importance * scale.square()
        entries = _entries(values if turn else normal, codebook, price)
        choose = _chooser(job.cut, weights, entries)
        if turn:
            values = refine(normal, values, job.hessian, choose)
        elif bool(job.cut.any()) and supports.multiplications(~job.cut) <= _OWN:
            values = supports.sweep(normal, ~job.cut, job.hessian, weights, entries)
        else:
            values = sweep(normal, job.factor, choose)
        if free:
            scale = scale * scales.best(normal, values, job.hessian)
    if not price and not torch.equal(job.cut, job.zeros):
        normal, weights = job.target / scale.unsqueeze(2), job.importance * scale.square()
        values, job.cut = swapped(normal, values, job.hessian, codebook, weights, job.cut, job.zeros)
        if free:
            scale = scale * scales.best(normal, values, job.hessian)
    if not free:
        return values * unit, torch.ones_like(scale)
    # a row of zeros has no scale
    return values * unit, torch.where(values.any(2), scale / unit, 1.0)


def _scaled(job: _Job, grid: Grid, price: float, free: bool) -> tuple[Tensor, Tensor, Tensor | float]:
    """Returns the codebook, the scale of each row, and what a stored value is for the value 1 of the codebook."""
    fit = masks.fitted(job.target, ~job.cut, job.hessian, _STEPS) if bool(job.cut.any()) else job.target
    curvature = 1 / job.factor.diagonal(dim1=1, dim2=2).square().unsqueeze(1)
    if grid.levels is None:
        by_row = free or grid.per == "channel"
        scale = rate.steps(fit, curvature * job.importance.unsqueeze(2), price, by_row)
        if by_row and not free:
            scale = scales.shortened(scale, scales.digits(rate.largest_number(fit, scale), job.stored))
        codebook = codebooks.integers(rate.largest_number(fit, scale))
    else:
        codebook = grid.codebook()
        weights = curvature if free or grid.per == "channel" else curvature * job.importance.unsqueeze(2)
        scale = searched(fit, weights.expand_as(fit), grid, free, job.stored)
    if not free:
        return codebook, scale, scale.unsqueeze(2)
    middle = scale[fit.any(2)].log2().median() if bool(fit.any()) else scale.new_zeros(())
    return codebook, scale, float(2.0 ** (middle.round() if grid.kind == "pow2" else middle))


def searched(
    weight: Tensor, curvature: Tensor, grid: Grid, free: bool, stored: torch.dtype, fine: int = scales.FINE
) -> Tensor:
    """Returns the scale of each row, (groups, rows), with the least weighted squared error of rounding.

    Powers of two have scales that are powers of two. A scale for each channel has a short mantissa, so that a file can
    say it in few bytes and all multiples are exact. If something takes up a factor for each output, scales are any.

    Args:
        weight: (groups, rows, columns).
        curvature: (groups, rows, columns), the weight of the squared errors.
        grid: the grid, with a number of levels.
        free: whether a factor for each output can be corrected.
        stored: the type that stores the weight.
        fine: the number of scales to try for each factor of two.
    """
    codebook, shared = grid.codebook(), grid.per == "tensor" and not free
    largest = weight.abs().amax(2)
    largest = torch.where(largest > 0, largest, 1.0)
    if shared:
        largest = largest.max().expand_as(largest)
    largest = largest / float(codebook[-1])
    candidates = scales.candidates(largest, grid.kind == "pow2" and not free, fine)
    if grid.kind == "uniform" and not shared and not free:
        candidates = scales.shortened(candidates, scales.digits(int(codebook[-1]), stored))
    return scales.search(weight, curvature, codebook, candidates, shared)


def _entries(values: Tensor, codebook: Tensor, price: float) -> Entries:
    """Returns what chooses entries of the codebook: the nearest ones, or with a price the cheapest ones.

    Args:
        values: of the codebook or near it: how often each entry is used.
        codebook: (entries,).
        price: what a bit costs.
    """
    if not price:
        return lambda value, _: codebook[codebooks.nearest(value, codebook)]
    prices = price * codebooks.bits(codebooks.nearest(values, codebook), len(codebook)).to(values.dtype)
    return lambda value, cost: codebook[codebooks.cheapest(value, codebook, cost, prices)]


def _chooser(cut: Tensor, weights: Tensor, entries: Entries) -> Choose:
    """Returns what chooses the values of a column, for weights, (groups, rows), of the rows' losses."""

    def choose(value: Tensor, column: int, curvature: Tensor) -> Tensor:
        return torch.where(cut[:, :, column], 0.0, entries(value, weights * curvature.unsqueeze(1)))

    return choose
