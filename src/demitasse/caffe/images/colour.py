"""Colour spaces of images, as OpenCV has them in 8 bits: blue, green, red first; within one grey level."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from demitasse.errors import DataError

Array = NDArray[Any]

_HALF_TURN = 180  # hues are half degrees
_GREY = np.array([0.114, 0.587, 0.299], np.float32).reshape(3, 1, 1)


def bytes_of(values: Array) -> Array:
    """Returns the nearest bytes."""
    return np.rint(values).clip(0, 255).astype(np.uint8)


def require_bytes(image: Array) -> Array:
    """Returns the image, after checking that its values are 8-bit pixels.

    Raises:
        DataError: they are not.
    """
    if image.dtype != np.uint8:
        raise DataError("the image has float_data; transformations of pixels need bytes")
    return image


def to_grey(image: Array) -> Array:
    """Returns the luminance, (height, width) uint8, of an image (3, height, width)."""
    return bytes_of((image * _GREY).sum(0))


def to_hsv(image: Array) -> Array:
    """Returns hue (0 to 179), saturation and value, (3, height, width) uint8."""
    blue, green, red = image.astype(np.float32)
    value = image.max(0).astype(np.float32)
    range_ = value - image.min(0)
    divisor = np.maximum(range_, 1)
    sixth = np.where(
        value == red,
        (green - blue) / divisor,
        np.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    hue = np.rint(np.where(range_ > 0, sixth, 0) * (_HALF_TURN / 6)) % _HALF_TURN
    return np.stack([hue, np.rint(255 * range_ / np.maximum(value, 1)), value]).astype(np.uint8)


def from_hsv(hsv: Array) -> Array:
    """Returns blue, green and red; hues from 180 on go round."""
    hue, saturation, value = hsv.astype(np.float32)
    depth = value * saturation / 255
    channels = []
    for shift in (1, 3, 5):
        turn = (shift + hue * (6 / _HALF_TURN)) % 6
        channels.append(value - depth * np.minimum(turn, 4 - turn).clip(0, 1))
    return bytes_of(np.stack(channels))


def to_ycrcb(image: Array) -> Array:
    """Returns luminance and the differences of red and blue from it, (3, height, width) uint8."""
    blue, _, red = image.astype(np.float32)
    grey = (image * _GREY).sum(0)
    return bytes_of(np.stack([grey, (red - grey) * 0.713 + 128, (blue - grey) * 0.564 + 128]))


def from_ycrcb(ycrcb: Array) -> Array:
    """Returns blue, green and red."""
    grey, red, blue = ycrcb.astype(np.float32)
    red, blue = red - 128, blue - 128
    return bytes_of(np.stack([grey + 1.773 * blue, grey - 0.714 * red - 0.344 * blue, grey + 1.403 * red]))
