"""The permutohedral lattice: Gaussian filtering of points by their features, in time linear in their number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demitasse.errors import DataError

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]

_MOST_KEYS = 2.0**60  # lattice points that 64 bits tell apart, with a margin for the base
_FARTHEST = 2.0**50  # standard deviations; beyond, coordinates of the lattice are not exact


class PermutohedralLattice:
    """A lattice around points in d dimensions.

    Values of points are splatted onto the d + 1 corners of the simplex around each point, blurred along the d + 1
    axes of the lattice, and sliced at the points: up to a factor, a Gaussian filter with the standard deviation 1.

    Args:
        features: (points, d), in units of the standard deviation of each dimension.

    Raises:
        DataError: features are not finite, or too far apart.

    Reference: Adams, Baek, Davis 2010 (Fast high-dimensional filtering using the permutohedral lattice), section 3.
    """

    def __init__(self, features: Floats) -> None:
        if not np.abs(features).max(initial=0) < _FARTHEST:
            raise DataError(f"a feature that is filtered by is not below {_FARTHEST:g} standard deviations")
        corners, weights = _simplices(features.astype(np.float64))
        points, count, axes = corners.shape
        radix = _radix(corners.reshape(points * count, axes))
        known, found = np.unique(corners.reshape(points * count, axes) @ radix, return_inverse=True)
        self.corners = torch.from_numpy(found.reshape(points, count).astype(np.int64))
        self.weights = torch.from_numpy(weights)
        self.size = len(known)
        self._neighbours = [self._beside(known, axis, radix) for axis in range(count)]

    def _beside(self, known: Integers, axis: int, radix: Integers) -> Tensor:
        """Returns for each lattice point its two neighbours along an axis; ``size`` where there is none."""
        step = np.full(len(radix), -1)
        if axis < len(step):
            step[axis] = len(step)
        found = []
        for sign in (1, -1):
            packed = known + sign * (step @ radix)
            places = np.searchsorted(known, packed).clip(max=self.size - 1)
            found.append(np.where(known[places] == packed, places, self.size))
        return torch.from_numpy(np.stack(found))

    def filter(self, values: Tensor) -> Tensor:
        """Returns the values of all points, filtered.

        Args:
            values: (points, channels).
        """
        device = values.device
        corners, weights = self.corners.to(device), self.weights.to(values)
        parts = (values[:, None] * weights[..., None]).flatten(0, 1)
        lattice = values.new_zeros(self.size, values.shape[1]).index_add(0, corners.flatten(), parts)
        for neighbours in self._neighbours:
            padded = torch.cat([lattice, lattice.new_zeros(1, values.shape[1])])
            lattice = lattice + padded[neighbours.to(device)].sum(0) / 2
        return (lattice[corners] * weights[..., None]).sum(1)


def _simplices(features: Floats) -> tuple[Integers, Floats]:
    """Returns the corners of the simplex around each point, (points, d + 1, d), and its barycentric coordinates.

    A corner has d + 1 coordinates whose sum is 0, of which the last is left out.
    """
    count, d = features.shape
    numbers = np.arange(1, d + 1)
    scaled = features * (np.sqrt(2 / 3) * (d + 1) / np.sqrt(numbers * (numbers + 1)))
    elevated = np.zeros((count, d + 1))
    elevated[:, :-1] = scaled[:, ::-1].cumsum(1)[:, ::-1]
    elevated[:, 1:] -= scaled * numbers
    # the nearest point of the lattice whose coordinates are multiples of d + 1
    multiples = np.floor(elevated / (d + 1) + 0.5).astype(np.int64)
    excess = multiples.sum(1, keepdims=True)
    nearest = multiples * (d + 1)
    order = np.argsort(nearest - elevated, 1, kind="stable")
    rank = np.argsort(order, 1, kind="stable") + excess
    shift = (rank < 0).astype(np.int64) - (rank > d)
    rank, nearest = rank + shift * (d + 1), nearest + shift * (d + 1)
    rest = (elevated - nearest) / (d + 1)
    weights, rows = np.zeros((count, d + 2)), np.arange(count)[:, None]
    np.add.at(weights, (rows, d - rank), rest)
    np.add.at(weights, (rows, d + 1 - rank), -rest)
    weights[:, 0] += 1 + weights[:, d + 1]
    colours = np.arange(d + 1)
    canonical = np.where(colours[None] <= d - colours[:, None], colours[:, None], colours[:, None] - (d + 1))
    corners = nearest[:, None, :-1] + canonical[:, rank[:, :-1]].transpose(1, 0, 2)
    return corners, weights[:, :-1]


def _radix(keys: Integers) -> Integers:
    """Returns by what to multiply the columns of keys, so that their sums are distinct, also those of neighbours.

    Raises:
        DataError: the keys are too far apart for 64 bits.
    """
    spans = [float(column.max() - column.min()) + 2 * (keys.shape[1] + 2) for column in keys.T]
    if not math.prod(spans) < _MOST_KEYS:
        raise DataError("the features that are filtered by span too many standard deviations; expected larger ones")
    return np.append(1, np.array(spans[:-1], np.int64).cumprod())
