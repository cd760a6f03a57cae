"""Resizes images by any of OpenCV's interpolations, in float32; the bilinear one is in resizing.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_CUBIC = -0.75  # the free parameter of the cubic convolution


class _Kernel(NamedTuple):
    """For each new pixel along an axis, the indices of old pixels and their weights, (new, taps) each."""

    indices: NDArray[np.intp]
    weights: NDArray[np.float32]


def resample(image: Array, height: int, width: int, interpolation: str) -> Array:
    """Resizes an image, within one grey level of OpenCV.

    Args:
        image: (channels, height, width) uint8.
        height: the new height in pixels.
        width: the new width in pixels.
        interpolation: ``LINEAR``, ``AREA``, ``NEAREST``, ``CUBIC`` or ``LANCZOS4``.
    """
    shrinks = image.shape[1] >= height and image.shape[2] >= width
    name = "ENLARGED_AREA" if interpolation == "AREA" and not shrinks else interpolation
    down, across = (_kernel(name, size, new) for size, new in zip(image.shape[1:], (height, width), strict=True))
    if name == "NEAREST":
        found: Array = image[:, down.indices, across.indices.T]
        return found
    rows = np.zeros((len(image), height, image.shape[2]), np.float32)
    for index, weight in zip(down.indices.T, down.weights.T, strict=True):
        rows += weight[:, None] * image[:, index]
    pixels = np.zeros((len(image), height, width), np.float32)
    for index, weight in zip(across.indices.T, across.weights.T, strict=True):
        pixels += weight * rows[:, :, index]
    return np.rint(pixels).clip(0, 255).astype(np.uint8)


@lru_cache(128)
def _kernel(name: str, size: int, new: int) -> _Kernel:
    indices, weights = _KERNELS[name](np.arange(new), 1 / (new / size), size)  # rounded as OpenCV rounds it
    return _Kernel(indices.clip(0, size - 1), weights.astype(np.float32))


Taps = tuple[NDArray[np.intp], NDArray[np.float64]]


def _nearest(places: NDArray[np.intp], scale: float, size: int) -> Taps:
    return np.floor(places * scale).astype(np.intp)[:, None], np.ones((len(places), 1))


def _around(places: NDArray[np.intp], scale: float, offsets: range) -> Taps:
    """Returns the old pixels around the centre of each new one, and their distances from it."""
    centre = (places + 0.5) * scale - 0.5
    indices = np.floor(centre).astype(np.intp)[:, None] + np.array(offsets)
    return indices, np.abs(centre[:, None] - indices)


def _linear(places: NDArray[np.intp], scale: float, size: int) -> Taps:
    indices, distance = _around(places, scale, range(2))
    return indices, 1 - distance


def _cubic(places: NDArray[np.intp], scale: float, size: int) -> Taps:
    indices, d = _around(places, scale, range(-1, 3))
    near = ((_CUBIC + 2) * d - (_CUBIC + 3)) * d * d + 1
    far = ((_CUBIC * d - 5 * _CUBIC) * d + 8 * _CUBIC) * d - 4 * _CUBIC
    return indices, np.where(d <= 1, near, far)


def _lanczos(places: NDArray[np.intp], scale: float, size: int) -> Taps:
    indices, distance = _around(places, scale, range(-3, 5))
    weights = np.sinc(distance) * np.sinc(distance / 4)
    return indices, weights / weights.sum(1, keepdims=True)


def _area(places: NDArray[np.intp], scale: float, size: int) -> Taps:
    """The share of each old pixel in the part of the image that a new one shows."""
    start, end = places[:, None] * scale, (places[:, None] + 1) * scale
    indices = np.floor(start).astype(np.intp) + np.arange(int(np.ceil(scale)) + 1)
    shares = (np.minimum(end, indices + 1) - np.maximum(start, indices)).clip(min=0)
    return indices, shares / shares.sum(1, keepdims=True)


def _enlarged_area(places: NDArray[np.intp], scale: float, size: int) -> Taps:
    """OpenCV's AREA where an axis grows: the old pixels keep their areas, with a blend between two of them."""
    first = np.floor(places * scale).astype(np.intp)
    beyond = (places + 1) - (first + 1) * (len(places) / size)
    share = np.where(beyond > 0, beyond - np.floor(beyond), 0)
    return np.stack([first, first + 1], 1), np.stack([1 - share, share], 1)


_KERNELS: dict[str, Callable[[NDArray[np.intp], float, int], Taps]] = {
    "AREA": _area,
    "CUBIC": _cubic,
    "ENLARGED_AREA": _enlarged_area,
    "LANCZOS4": _lanczos,
    "LINEAR": _linear,
    "NEAREST": _nearest,
}
