"""Distributes bits over layers on uniform grids, by what rounding costs the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from demitasse.methods.one_shot import allocation
from demitasse.methods.one_shot.layer import Grid
from demitasse.shrinking.targets import ShrinkTarget

_FACTORS = 1.0, 0.85, 0.7, 0.55, 0.4  # of the step that holds the largest weight
_MOST = 127  # multiples of each sign


def distributed(
    targets: Sequence[ShrinkTarget], powers: Mapping[str, Tensor], grids: Mapping[str, Grid | None]
) -> dict[str, Grid | None]:
    """Returns the grids with more levels for the layers that need them and fewer for others, at the same average bits.

    Powers of two stay as they are: what takes them counts on their number.

    Args:
        targets: the targets.
        powers: name -> mean squares of the inputs, (groups, columns).
        grids: name -> grid.
    """
    losses, entries = {}, {}
    for target in targets:
        grid = grids[target.name]
        if grid is not None and grid.kind == "uniform" and grid.levels is not None:
            by_row = target.freedom.scale or grid.per == "channel"
            losses[target.name] = _loss(target, powers.get(target.name), grid.levels, by_row)
            entries[target.name] = target.matrix.numel()
    found = dict(grids)
    for name, shift in allocation.shifts(losses, entries).items():
        grid = grids[name]
        assert grid is not None
        assert grid.levels is not None
        values = (2 * grid.levels + 1) * 2**shift
        found[name] = replace(grid, levels=min(max(1, round((values - 1) / 2)), _MOST))
    return found


def _loss(target: ShrinkTarget, powers: Tensor | None, levels: int, by_row: bool) -> float:
    """Returns what rounding a weight costs the model, without compensation."""
    weight = target.matrix.double()
    curvature = target.importance.unsqueeze(2)
    if powers is not None:
        curvature = curvature * powers.unsqueeze(1)
    largest = weight.abs().amax(2, keepdim=True) if by_row else weight.abs().max().view(1, 1, 1)
    losses = []
    for factor in _FACTORS:
        step = (factor * largest / levels).clamp(min=torch.finfo(weight.dtype).tiny)
        error = (weight / step).round().clamp(-levels, levels) * step - weight
        losses.append((error.square() * curvature).sum(2))
    rows = torch.stack(losses)
    return float(rows.amin(0).sum() if by_row else rows.sum((1, 2)).amin())
