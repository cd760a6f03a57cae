"""Distributes bits over layers on uniform grids, by what rounding costs the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from demitasse.methods.one_shot import allocation
from demitasse.methods.one_shot.layer import Grid
from demitasse.shrinking.choosing import rounding_loss
from demitasse.shrinking.targets import ShrinkTarget

_MOST = 127  # multiples of each sign, unless more are asked for


def distributed(
    targets: Sequence[ShrinkTarget],
    powers: Mapping[str, Tensor],
    cut: Mapping[str, Tensor],
    grids: Mapping[str, Grid],
) -> dict[str, Grid]:
    """Returns uniform grids with more levels for some layers and fewer for others, so that the model loses least.

    The average number of bits of the weights that are not zero stays. Grids of powers of two are not for this: what
    takes them counts on their number.

    Args:
        targets: the targets.
        powers: name -> mean squares of the inputs, (groups, columns).
        cut: name -> which weights will be cut, (groups, rows, columns) bool.
        grids: name -> uniform grid; other targets get none.
    """
    losses, entries, most = {}, {}, allocation.MORE
    for target in targets:
        name = target.name
        if name in grids:
            weight = target.matrix.double()
            if name in cut:
                weight = weight.masked_fill(cut[name], 0.0)
            losses[name] = rounding_loss(target, weight, target.curvature(powers.get(name)), grids[name])
            entries[name] = max(1, int(weight.count_nonzero()))
            most = min(most, max(0.0, math.log2((2 * _MOST + 1) / _values(grids[name]))))
    found = {}
    for name, shift in allocation.shifts(losses, entries, most).items():
        values = _values(grids[name]) * 2**shift
        found[name] = replace(grids[name], levels=max(1, round((values - 1) / 2)))
    return found


def _values(grid: Grid) -> int:
    assert grid.levels is not None
    return 2 * grid.levels + 1
