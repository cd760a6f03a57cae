"""``resize_param`` of SSD: all images get one size."""

from __future__ import annotations

import numpy as np

from demitasse.caffe import schema
from demitasse.caffe.images.box_resizing import FIT_LARGE, check_resize, new_size
from demitasse.caffe.images.resampling import Array, resample
from demitasse.errors import DataError

_MODES = {"CONSTANT": "constant", "MIRRORED": "reflect", "REPEAT_NEAREST": "edge"}
_MOST_CHANNELS = 4  # of the bilinear loop
Shape = tuple[int, ...]


class ResizePolicy:
    """Resizes images by a ResizeParameter.

    WARP gives them a height and a width; FIT_SMALL_SIZE keeps their aspect, and makes them as small as possible
    without being smaller than that; FIT_LARGE_SIZE_AND_PAD keeps it too, and adds margins. Of several ``interp_mode``
    one is drawn for each image.

    Raises:
        NetError: there is no height or width.
    """

    def __init__(self, param: schema.ResizeParameter) -> None:
        check_resize(param)
        self.param = param
        self._modes = [param.Interp_mode.Name(mode) for mode in param.interp_mode] or ["LINEAR"]
        self.draws = len(self._modes) > 1

    def new_shape(self, shape: Shape) -> Shape:
        """Returns the shape (channels, height, width) of a resized image."""
        return (shape[0], *new_size(self.param, (shape[1], shape[2])))

    def __call__(self, image: Array, random: np.random.Generator) -> Array:
        """Returns the resized image of an image (channels, height, width) uint8.

        Raises:
            DataError: the number of ``pad_value`` does not fit its channels.
        """
        mode = self._modes[int(random.integers(len(self._modes)))] if self.draws else self._modes[0]
        _, height, width = self.new_shape(image.shape)
        if self.param.resize_mode != FIT_LARGE:
            return resized(image, height, width, mode)
        aspect, wanted = (np.float32(size[1]) / np.float32(size[0]) for size in (image.shape[1:], (height, width)))
        inner = (int(np.float32(width) / aspect), width) if aspect > wanted else (height, int(aspect * height))
        inner = max(inner[0], 1), max(inner[1], 1)
        return self._padded(resized(image, *inner, mode), height, width)

    def _padded(self, image: Array, height: int, width: int) -> Array:
        channels, *inner = image.shape
        before = [(whole - part) // 2 for whole, part in zip((height, width), inner, strict=True)]
        margins = [(at, whole - part - at) for at, whole, part in zip(before, (height, width), inner, strict=True)]
        mode = _MODES[self.param.Pad_mode.Name(self.param.pad_mode)]
        if mode != "constant":
            return np.pad(image, [(0, 0), *margins], mode)  # type: ignore[call-overload,no-any-return]
        values = list(self.param.pad_value) or [0]
        if len(values) not in (1, channels):
            raise DataError(f"found {len(values)} pad_value for {channels} channels; expected 1 or {channels}")
        found = np.empty((channels, height, width), np.uint8)
        found[:] = np.rint(values).clip(0, 255).reshape(-1, 1, 1)
        found[:, before[0] : before[0] + inner[0], before[1] : before[1] + inner[1]] = image
        return found


def resized(image: Array, height: int, width: int, mode: str) -> Array:
    """Returns an image in another size, by the interpolation of an Interp_mode."""
    if image.shape[1:] == (height, width):
        return image
    if mode == "LINEAR" and len(image) <= _MOST_CHANNELS:
        from demitasse.caffe.images.codec import resize

        return resize(image, height, width)
    return resample(image, height, width, mode)
