"""``noise_param`` of SSD: images that are worse than those of the data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from demitasse.caffe import schema
from demitasse.caffe.images import colour
from demitasse.caffe.images.equalization import equalized, locally_equalized
from demitasse.caffe.images.resampling import Array
from demitasse.errors import DataError, NetError

_BLUR = np.exp(-((np.arange(7) - 3.0) ** 2) / (2 * 1.5**2))
_BLUR = (_BLUR / _BLUR.sum()).astype(np.float32)
_POSTER = 64  # grey levels that become one


class NoisePolicy:
    """Changes images by a NoiseParameter, in the order of its settings in SSD's code; ``prob`` has no effect there.

    Raises:
        NetError: ``convert_to_lab`` is asked for, whose values are not 8-bit pixels.
    """

    def __init__(self, param: schema.NoiseParameter) -> None:
        if param.convert_to_lab:
            raise NetError("convert_to_lab makes no 8-bit pixels, which transformations need; it is not supported")
        self._param = param
        self.draws = param.saltpepper

    def __call__(self, image: Array, random: np.random.Generator) -> Array:
        """Returns the changed image of an image (channels, height, width) uint8.

        Raises:
            DataError: a change needs an image of three channels.
        """
        param = self._param
        for change, asked in (
            (_decolorized, param.decolorize),
            (_blurred, param.gauss_blur),
            (_by_luminance(equalized), param.hist_eq),
            (_by_luminance(locally_equalized), param.clahe),
        ):
            if asked:
                image = change(image)
        if param.jpeg > 0:
            from demitasse.caffe.images.codec import decode, encode

            image = decode(encode(image, "jpg", int(param.jpeg)), color=True)
        if param.erode:
            image = _eroded(image)
        if param.posterize:
            image = image // _POSTER * _POSTER + _POSTER // 2
        if param.inverse:
            image = 255 - image
        if param.saltpepper:
            image = self._salted(image, random)
        return colour.to_hsv(_coloured(image)) if param.convert_to_hsv else image

    def _salted(self, image: Array, random: np.random.Generator) -> Array:
        """Returns the image with a value at random positions, the same one for all channels or one for each."""
        settings = self._param.saltpepper_param
        channels, height, width = image.shape
        values = list(settings.value) or [0]
        if len(values) not in (1, channels):
            raise DataError(
                f"found {len(values)} values of saltpepper_param for {channels} channels; expected 1 or all"
            )
        count = int(settings.fraction * height * width)
        image = np.array(image)
        rows, columns = random.integers(height, size=count), random.integers(width, size=count)
        image[:, rows, columns] = np.array(values).clip(0, 255).astype(np.uint8)[:, None]
        return image


def _coloured(image: Array) -> Array:
    if len(image) != 3:
        raise DataError(f"noise_param changes colours, but the image has {len(image)} channels")
    return image


def _decolorized(image: Array) -> Array:
    return np.repeat(colour.to_grey(_coloured(image))[None], 3, 0)


def _by_luminance(change: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Returns a function that changes the luminance of an image by a function of planes."""

    def changed(image: Array) -> Array:
        if len(image) == 1:
            return change(image[0])[np.newaxis]
        planes = colour.to_ycrcb(_coloured(image))
        planes[0] = change(planes[0])
        return colour.from_ycrcb(planes)

    return changed


def _blurred(image: Array) -> Array:
    """A Gaussian of 7 x 7 pixels, sigma 1.5, mirrored at the borders."""
    padded = np.pad(image, [(0, 0), (3, 3), (3, 3)], "reflect").astype(np.float32)
    height, width = image.shape[1:]
    rows = sum(weight * padded[:, at : at + height] for at, weight in enumerate(_BLUR))
    return colour.bytes_of(np.asarray(sum(weight * rows[:, :, at : at + width] for at, weight in enumerate(_BLUR))))


def _eroded(image: Array) -> Array:
    """The smallest of each pixel and the four beside it."""
    padded = np.pad(image, [(0, 0), (1, 1), (1, 1)], constant_values=255)
    around = padded[:, 1:-1, :-2], padded[:, 1:-1, 2:], padded[:, :-2, 1:-1], padded[:, 2:, 1:-1]
    found: Array = np.minimum.reduce((image, *around))
    return found
