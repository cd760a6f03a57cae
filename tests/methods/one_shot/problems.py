"""Small layers with correlated inputs, in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from demitasse.methods.one_shot.moments import InputMoments, Moments


def inputs(columns: int = 12, count: int = 200, groups: int = 1, seed: int = 0) -> Tensor:
    """Inputs (groups, columns, n), each column a mixture of the same sources."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(groups, columns, columns, generator=generator, dtype=torch.float64)
    return mixed @ torch.randn(groups, columns, count, generator=generator, dtype=torch.float64)


def weight(rows: int = 5, columns: int = 12, groups: int = 1, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(groups, rows, columns, generator=generator, dtype=torch.float64)


def statistics(given: Tensor, dense: Tensor | None = None) -> InputMoments:
    moments = Moments()
    moments.add(given, dense)
    return moments.statistics()


def hessian(columns: int = 12, groups: int = 1, seed: int = 0) -> Tensor:
    given = inputs(columns, groups=groups, seed=seed)
    return given @ given.mT / given.shape[2]
