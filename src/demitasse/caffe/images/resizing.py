"""Resizes windows of images like OpenCV: bilinear between pixel centres, without a filter, in fixed point."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import config, types
from numpy.typing import NDArray

from demitasse.loops import njit

Array = NDArray[Any]
Indices = NDArray[np.uintp]
Window = tuple[slice, slice, slice]

_BITS = 11  # fractional bits of a weight
_ONE = 1 << _BITS
_SHIFT = 2 * _BITS
_HALF = 1 << (_SHIFT - 1)
_WORD = 4  # bytes of a pixel
_U = np.uintp  # numba checks signed indices for negative values


class Resized(NamedTuple):
    """An image to be resized; only the requested window is computed.

    Attributes:
        image: (channels, height, width) uint8.
        height: the new height in pixels.
        width: the new width in pixels.
    """

    image: Array
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The new shape (channels, height, width)."""
        return (len(self.image), self.height, self.width)


def copy_window(image: Array | Resized, window: Window, mirror: bool, out: Array) -> None:
    """Copies ``image[window]``, mirrored if requested, into ``out``, which has the same shape but any type."""
    if isinstance(image, Resized):
        _resize(image, window, mirror, out)
        return
    found = _interleaved(image)
    if found and found.pixels.shape[2] == _WORD:
        words = found.pixels.view("<u4").reshape(image.shape[1:])
        _copy(words, _U(window[1].start or 0), _U(window[2].start or 0), _shifts(*found.channels), mirror, out)
    else:
        part = image[window]
        out[...] = part[:, :, ::-1] if mirror else part


@lru_cache
def _shifts(*channels: int) -> Array:
    return np.array(channels, np.uint32) * np.uint32(8)


class _Interleaved(NamedTuple):
    """An image in its memory layout.

    Attributes:
        pixels: (height, width, bytes per pixel), contiguous.
        channels: the byte offset of each channel in a pixel.
    """

    pixels: Array
    channels: list[int]


def _interleaved(image: Array) -> _Interleaved | None:
    """Returns the pixels that the image is a complete view of; None for other images."""
    pixels, (order, *strides) = image.base, image.strides
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 3 or not pixels.flags.c_contiguous:
        return None
    if pixels.shape[:2] != image.shape[1:] or pixels.strides[:2] != tuple(strides) or pixels.dtype != np.uint8:
        return None
    first = image.__array_interface__["data"][0] - pixels.__array_interface__["data"][0]
    return _Interleaved(pixels, [first + order * channel for channel in range(len(image))])


class _Taps(NamedTuple):
    """For each new pixel along an axis, the index of the first of its two old pixels, and the weight of the second."""

    first: Indices
    weight: NDArray[np.int32]

    def part(self, places: slice) -> _Taps:
        return _Taps(self.first[places], self.weight[places])


@lru_cache(64)
def _taps(size: int, new: int) -> _Taps:
    at = np.clip((np.arange(new) + 0.5) * (size / new) - 0.5, 0, size - 1)
    first = np.minimum(at.astype(int), max(size - 2, 0))
    return _Taps(first.astype(_U), np.round((at - first) * _ONE).astype(np.int32))


def _resize(resized: Resized, window: Window, mirror: bool, out: Array) -> None:
    _, down, across = window
    found = _words(resized.image)
    height, width, _ = found.pixels.shape
    y, x = _taps(height, resized.height).part(down), _taps(width, resized.width).part(across)
    if mirror:
        x = _Taps(*map(np.ascontiguousarray, x.part(slice(None, None, -1))))
    rows = found.pixels.reshape(height, -1)
    _compiled()(rows, _shifts(*found.channels), y.first, y.weight, x.first, x.weight, out)


def _words(image: Array) -> _Interleaved:
    """Returns the pixels of an image of up to four channels, with four bytes per pixel."""
    found = _interleaved(image)
    if found and found.pixels.shape[2] == _WORD and found.pixels.flags.writeable:
        return found
    pixels = np.zeros((*image.shape[1:], _WORD), np.uint8)
    pixels[:, :, : len(image)] = image.transpose(1, 2, 0)
    return _Interleaved(pixels, [*range(len(image))])


@njit(cache=True, nogil=True, error_model="numpy")
def _spread(words: Array, shifts: Array, mirror: bool, y: int, out: Array) -> None:
    """Fills row y of out, (channels, height, width), from pixels whose channels are packed in words."""
    width = _U(words.shape[0])
    for channel in range(out.shape[0]):
        row, shift = out[channel, y], shifts[channel]
        if mirror:
            for x in range(width):
                row[width - _U(1) - _U(x)] = np.int32((words[x] >> shift) & np.uint32(255))
        else:
            for x in range(width):
                row[x] = np.int32((words[x] >> shift) & np.uint32(255))


@njit(cache=True, nogil=True, error_model="numpy")
def _copy(words: Array, top: np.uintp, left: np.uintp, shifts: Array, mirror: bool, out: Array) -> None:
    """Fills out, (channels, height, width), from a window of pixels whose channels are packed in words."""
    width = _U(out.shape[2])
    for y in range(out.shape[1]):
        _spread(words[top + _U(y), left : left + width], shifts, mirror, y, out)


def _interpolate(
    rows: Array, shifts: Array, above: Indices, down: Array, before: Indices, across: Array, out: Array
) -> None:
    """Fills out, (channels, height, width), from rows of 4-byte pixels; interpolates vertically, then horizontally."""
    begin = min(before[0], before[-1]) * _U(_WORD)
    end = min((max(before[0], before[-1]) + _U(2)) * _U(_WORD), _U(rows.shape[1]))
    line = np.zeros(end - begin + _U(_WORD), np.int32)  # one more pixel, of weight 0, after the end of a row
    pixels = np.empty(_U(out.shape[2]) * _U(_WORD), np.uint8)
    words = pixels.view(np.uint32)
    last = _U(rows.shape[0] - 1)
    for y in range(out.shape[1]):
        first, second = rows[above[y], begin:end], rows[min(above[y] + _U(1), last), begin:end]
        weight = down[y]
        rest = np.int32(_ONE - weight)
        for k in range(first.shape[0]):
            line[k] = np.int32(first[k]) * rest + np.int32(second[k]) * weight
        for x in range(_U(out.shape[2])):
            k, right = before[x] * _U(_WORD) - begin, across[x]
            left, half, shift = np.int32(_ONE - right), np.int32(_HALF), np.int32(_SHIFT)
            # computing all four before storing any lets each step be one vector instruction
            a = (line[k] * left + line[k + _U(4)] * right + half) >> shift
            b = (line[k + _U(1)] * left + line[k + _U(5)] * right + half) >> shift
            c = (line[k + _U(2)] * left + line[k + _U(6)] * right + half) >> shift
            d = (line[k + _U(3)] * left + line[k + _U(7)] * right + half) >> shift
            j = _U(x) * _U(_WORD)
            pixels[j], pixels[j + _U(1)], pixels[j + _U(2)], pixels[j + _U(3)] = a, b, c, d
        _spread(words, shifts, False, y, out)


_VECTORIZER = "SLP_VECTORIZE"
_compiling = threading.Lock()


def _compiled() -> Callable[..., None]:
    """Returns the loop, compiled with LLVM's SLP vectorizer, which numba disables by default."""
    with _compiling:
        return _made()


@cache
def _made() -> Callable[..., None]:
    flat, table, tops = types.uint8[:, ::1], types.uintp[::1], (types.float32[:, :, ::1], types.uint8[:, :, ::1])
    weights = types.int32[::1]
    signatures = [types.void(flat, types.uint32[::1], table, weights, table, weights, top) for top in tops]
    before = getattr(config, _VECTORIZER)
    setattr(config, _VECTORIZER, 1)
    try:
        compiled: Callable[..., None] = njit(signatures, cache=True, nogil=True, error_model="numpy")(_interpolate)
        return compiled
    finally:
        setattr(config, _VECTORIZER, before)
