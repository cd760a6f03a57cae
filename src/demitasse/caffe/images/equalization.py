"""Equalizes the histogram of a plane of pixels, as a whole or by parts."""

from __future__ import annotations

import numpy as np

from demitasse.caffe.images.colour import Array, bytes_of

_LEVELS = 256
_TILES = 8
_CLIP = 4.0  # of the mean count of a level


def equalized(plane: Array) -> Array:
    """Returns a plane (height, width) uint8 whose grey levels are as evenly used as possible."""
    counts = np.bincount(plane.ravel(), minlength=_LEVELS)
    first = int(np.flatnonzero(counts)[0])
    if counts[first] == plane.size:
        return plane
    sums = counts.cumsum() - counts[first]
    found: Array = bytes_of(sums * (255 / (plane.size - counts[first])))[plane]
    return found


def locally_equalized(plane: Array) -> Array:
    """Returns a plane equalized in 8 x 8 tiles, with limited contrast, and blended between the tiles.

    Reference: Zuiderveld 1994, "Contrast Limited Adaptive Histogram Equalization".
    """
    height, width = plane.shape
    # as in OpenCV, an axis that fits grows by a whole tile if the other one does not
    fits = height % _TILES == width % _TILES == 0
    padded = plane if fits else np.pad(plane, [(0, _TILES - size % _TILES) for size in plane.shape], "reflect")
    rows, columns = (size // _TILES for size in padded.shape)
    tiles = padded.reshape(_TILES, rows, _TILES, columns).swapaxes(1, 2).reshape(_TILES, _TILES, -1)
    tables = np.array([[_limited(tile) for tile in line] for line in tiles], np.float32)
    (above, below, down), (left, right, across) = _between(height, rows), _between(width, columns)
    values = plane.astype(np.intp)
    upper, lower = (
        tables[row[:, None], left, values] * (1 - across) + tables[row[:, None], right, values] * across
        for row in (above, below)
    )
    return bytes_of(upper * (1 - down[:, None]) + lower * down[:, None])


def _between(size: int, tile: int) -> tuple[Array, Array, Array]:
    """Returns for each position along an axis the tiles before and after it, and the share of the second."""
    at = np.arange(size, dtype=np.float32) / np.float32(tile) - np.float32(0.5)
    first = np.floor(at).astype(np.intp)
    return first.clip(0, _TILES - 1), (first + 1).clip(0, _TILES - 1), at - first


def _limited(tile: Array) -> Array:
    """Returns the table of a tile's grey levels; counts above the limit are given to all levels alike."""
    counts = np.bincount(tile, minlength=_LEVELS)
    limit = max(int(_CLIP * tile.size / _LEVELS), 1)
    rest = int((counts - limit).clip(min=0).sum())
    counts = counts.clip(max=limit) + rest // _LEVELS
    rest %= _LEVELS
    if rest:
        step = max(_LEVELS // rest, 1)
        counts[: step * rest : step] += 1
    return bytes_of(counts.cumsum() * (255 / tile.size))
