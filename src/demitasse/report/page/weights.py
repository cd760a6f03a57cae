"""What a page shows of a tensor: counts, a histogram of exponents, and a picture with a cell for each weight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from demitasse.arrays import Array

LEVELS = 7  # exponents that a picture distinguishes; smaller weights look like those of the smallest one
LARGEST_SIDE = 1024  # cells
_GAP = 15  # code of a cell between kernels
ZERO, BLOCKS = 0, 16  # codes: below BLOCKS those of single weights, then those of blocks by their share of nonzeros
SHARES = 8  # codes of blocks


class Tiling(NamedTuple):
    """How a picture shows a tensor of (outputs, inputs, height, width): kernels in rows, with gaps of one cell.

    Attributes:
        height: height of a kernel.
        width: width of a kernel.
        inputs: number of kernels of an output.
        groups: number of outputs beside each other in a row.
    """

    height: int
    width: int
    inputs: int
    groups: int


_SINGLE = Tiling(1, 1, 1, 1)


@dataclass(frozen=True)
class WeightView:
    """A tensor.

    Attributes:
        name: its name.
        shape: its shape.
        kept: number of nonzero values.
        broken: number of values that are NaN or infinite; they count as kept.
        distinct: number of distinct nonzero values.
        powers: number of values that are a power of two, of either sign.
        histogram: exponent -> (number of positive, of negative values) that are nearest to this power of two.
        cells: (rows, columns) uint8, a code for each cell: 0 for a zero, 1 to LEVELS for positive values, the largest
            power first, then as many for negative ones; None if the tensor has fewer than two axes.
        tiling: where the values of the tensor are in ``cells``.
    """

    name: str
    shape: tuple[int, ...]
    kept: int
    broken: int
    distinct: int
    powers: int
    histogram: Mapping[int, tuple[int, int]]
    cells: Array | None = None
    tiling: Tiling = _SINGLE

    @property
    def total(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def largest(self) -> int:
        """The largest exponent; 0 if all values are zero."""
        return max(self.histogram, default=0)


def view(name: str, values: Array) -> WeightView:
    """Looks at a tensor.

    Args:
        name: its name.
        values: any shape, of a floating-point type; NaN and infinite values have no exponent.
    """
    flat = values.astype(np.float64).reshape(-1)
    present = flat[flat != 0]
    finite = present[np.isfinite(present)]
    mantissas, exponents = np.frexp(np.abs(finite))  # |w| = mantissa 2^exponent, 0.5 <= mantissa < 1
    nearest = exponents - (mantissas < math.sqrt(0.5))
    histogram = {
        int(exponent): (int(np.sum(finite[nearest == exponent] > 0)), int(np.sum(finite[nearest == exponent] < 0)))
        for exponent in np.unique(nearest)
    }
    powers, broken = int(np.sum(mantissas == 0.5)), len(present) - len(finite)
    found = WeightView(name, values.shape, len(present), broken, len(np.unique(present)), powers, histogram)
    if values.ndim < 2 or not values.size:
        return found
    codes = np.zeros(flat.shape, np.uint8)
    levels = np.full(len(present), 0)
    levels[np.isfinite(present)] = np.clip(found.largest - nearest, 0, LEVELS - 1)
    codes[flat != 0] = 1 + levels + LEVELS * (present < 0)
    tiling, cells = _tiled(codes.reshape(*values.shape[:2], -1, values.shape[-1] if values.ndim > 2 else 1))
    return WeightView(**{**vars(found), "cells": cells, "tiling": tiling})


def _tiled(codes: Array) -> tuple[Tiling, Array]:
    """Arranges codes of (outputs, inputs, height, width) in the rows and columns of a picture."""
    outputs, inputs, height, width = codes.shape
    gap = int(height * width > 1)
    high, wide = outputs * (height + gap), inputs * (width + gap)
    # a picture at most twice as wide as it is high
    groups = max(1, min(outputs, round(math.sqrt(2 * high / wide)))) if high > 2 * wide else 1
    rows = -(-outputs // groups)
    filled = np.full((rows * groups, inputs, height + gap, width + gap), _GAP, np.uint8)
    filled[:outputs, :, :height, :width] = codes
    cells = filled.reshape(rows, groups, inputs, height + gap, width + gap).transpose(0, 3, 1, 2, 4)
    return Tiling(height, width, inputs, groups), cells.reshape(rows * (height + gap), -1)


def blocks(cells: Array, side: int) -> tuple[Array, int]:
    """Makes a picture smaller: cells become blocks, which show the share of their weights that is not zero.

    Args:
        cells: see :class:`WeightView`.
        side: the most rows and columns.

    Returns:
        The picture, and the number of cells along a block; the cells themselves and 1 if they are few enough.
    """
    size = -(-max(cells.shape) // side)
    if size < 2:
        return cells, 1
    padded = np.full([-(-length // size) * size for length in cells.shape], _GAP, np.uint8)
    padded[: cells.shape[0], : cells.shape[1]] = cells
    grouped = padded.reshape(padded.shape[0] // size, size, -1, size)
    weights = np.sum(grouped != _GAP, axis=(1, 3))
    kept = np.sum((grouped != _GAP) & (grouped != ZERO), axis=(1, 3))
    shares = kept / np.maximum(weights, 1)
    codes = BLOCKS + np.ceil(shares * (SHARES - 1)).astype(np.uint8)
    return np.where(weights > 0, codes, _GAP).astype(np.uint8), size
