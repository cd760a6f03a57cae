"""Chooses the grid of a model, and for each layer whether its channels have scales of their own, by estimated losses.

An estimate is the weighted squared error of rounding to nearest, without compensation, with the best scales: cheap, and
in the unit of the model's loss. All candidates have the same number of bits of a code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from demitasse.errors import MethodError
from demitasse.methods import pow2
from demitasse.methods.one_shot import scales
from demitasse.methods.one_shot.layer import Grid, GridKind, Per, searched
from demitasse.shrinking.targets import ShrinkTarget

_COARSE = 4  # scales to try for each factor of two
_CLEARLY = 0.9  # the share of the loss of powers of two below which a uniform grid is taken
# The share of the loss of one scale below which each channel gets its own. Codes are then used more evenly, so that a
# coded file has up to a bit more for each weight; losses that are only a little smaller are not worth that.
_HALF = 0.5
_SCALE_BITS = 8  # about what a scale takes in a file; a bit for each weight divides the loss by four

# the losses of the candidates
Losses = Mapping[tuple[GridKind, Per], float]


@dataclass(frozen=True)
class GridChoice:
    """What was chosen.

    Attributes:
        kind: the kind of grid of all layers.
        grids: name -> grid.
        losses: name -> estimated loss of each candidate; empty where there is only one.
        totals: kind -> estimated loss of all layers; empty if there is only one.
    """

    kind: GridKind
    grids: Mapping[str, Grid]
    losses: Mapping[str, Losses]
    totals: Mapping[GridKind, float]


def grid_of(kind: GridKind, bits: int, per: Per) -> Grid:
    """Returns the grid whose codes have a number of bits, sign and zero included."""
    return Grid(kind, pow2.levels_of_bits(bits) if kind == "pow2" else (1 << (bits - 1)) - 1, per)


def chosen_grids(
    targets: Sequence[ShrinkTarget],
    widths: Mapping[str, int],
    powers: Mapping[str, Tensor],
    cut: Mapping[str, Tensor],
    kind: GridKind | None,
    per: Per | None,
) -> GridChoice:
    """Returns the grids with the least estimated loss.

    Powers of two, and one scale for a tensor, are what every kernel and compact file takes. A uniform grid is chosen if
    its loss is below 0.9 of theirs, and scales of channels for the layers whose loss they halve at least.

    Args:
        targets: the targets.
        widths: name -> bits of a code; other targets get no grid.
        powers: name -> mean squares of the inputs, (groups, columns).
        cut: name -> which weights will be cut, (groups, rows, columns) bool.
        kind: the kind of grid; None to choose.
        per: what has a scale of its own; None to choose.
    """
    known = [target for target in targets if target.name in widths]
    kinds: list[GridKind] = [kind] if kind else _kinds(known, widths)
    losses, pers = {}, {}
    for target in known:
        name, choices = target.name, [per] if per else _pers(target)
        candidates = [grid_of(one, widths[name], each) for one in kinds for each in choices]
        weight = target.matrix.double()
        if name in cut:
            weight = weight.masked_fill(cut[name], 0.0)
        found: Losses = {}
        if len(candidates) > 1:
            curvature = target.curvature(powers.get(name))
            found = {(grid.kind, grid.per): rounding_loss(target, weight, curvature, grid) for grid in candidates}
        losses[name] = found
        pers[name] = {one: per or _per(found, one, weight.shape[2]) for one in kinds}
    totals = {one: sum(losses[name][one, pers[name][one]] for name in losses) for one in kinds} if kinds[1:] else {}
    chosen = kinds[-1] if totals and totals[kinds[-1]] < _CLEARLY * totals[kinds[0]] else kinds[0]
    return GridChoice(
        chosen, {name: grid_of(chosen, widths[name], pers[name][chosen]) for name in pers}, losses, totals
    )


def _kinds(targets: Sequence[ShrinkTarget], widths: Mapping[str, int]) -> list[GridKind]:
    """Returns the kinds of grids that the types of all weights have, the more common one first."""
    try:
        for target in targets:
            levels = pow2.levels_of_bits(widths[target.name])
            pow2.check_levels(levels, None, target.dense.dtype, target.name)
    except MethodError:
        return ["uniform"]
    return ["pow2", "uniform"]


def _pers(target: ShrinkTarget) -> list[Per]:
    """Returns what may have a scale of its own, where that makes a difference that a file can say."""
    channels = target.matrix.shape[0] * target.matrix.shape[1]
    return ["tensor"] if target.freedom.scale or channels < 2 or not _has_axis(target) else ["tensor", "channel"]


def _has_axis(target: ShrinkTarget) -> bool:
    """Returns whether channels lie along one of the first two axes; not so in a transposed convolution with groups."""
    groups, rows, _ = target.matrix.shape
    numbers = torch.arange(groups * rows, device=target.dense.device).view(groups, rows, 1).expand(target.matrix.shape)
    placed = target.views[0].weight(numbers, target.dense.shape)
    lines = [placed.movedim(axis, 0).flatten(1) for axis in range(min(2, placed.ndim))]
    return any(bool((line == line[:, :1]).all()) for line in lines)


def _per(losses: Losses, kind: GridKind, columns: int) -> Per:
    if (kind, "channel") not in losses:
        return "tensor"
    paid = 4 ** (_SCALE_BITS / columns) * losses[kind, "channel"]
    return "channel" if paid < _HALF * losses[kind, "tensor"] else "tensor"


def rounding_loss(target: ShrinkTarget, weight: Tensor, curvature: Tensor, grid: Grid) -> float:
    """Returns the estimated loss of a weight, (groups, rows, columns), on a grid."""
    scale = searched(weight, curvature, grid, target.freedom.scale, target.dense.dtype, _COARSE)
    return float(scales.error(weight, curvature, grid.codebook(), scale).sum())
