"""``distort_param`` of SSD: images of other brightness, contrast and colours."""

from __future__ import annotations

import numpy as np

from demitasse.caffe import schema
from demitasse.caffe.images.colour import bytes_of, from_hsv, to_hsv
from demitasse.caffe.images.resampling import Array
from demitasse.errors import DataError, NetError


class DistortionPolicy:
    """Changes images by a DistortionParameter, each property with its probability.

    Brightness adds up to ``brightness_delta``; contrast and saturation multiply by a factor between bounds; hue adds
    up to ``hue_delta`` half degrees. Contrast is changed before or after the colours, at random.

    Raises:
        NetError: a bound is below 0, or an upper one below its lower one.

    Reference: Howard 2013, "Some Improvements on Deep Convolutional Neural Network Based Image Classification".
    """

    def __init__(self, param: schema.DistortionParameter) -> None:
        self._param = param
        for name in ("contrast", "saturation"):
            lower, upper = getattr(param, f"{name}_lower"), getattr(param, f"{name}_upper")
            if not 0 <= lower <= upper:
                raise NetError(f"{name}_lower is {lower:g} and {name}_upper {upper:g}; expected 0 <= lower <= upper")
        if min(param.brightness_delta, param.hue_delta) < 0:
            raise NetError("brightness_delta or hue_delta is negative; expected 0 or more")

    def __call__(self, image: Array, random: np.random.Generator) -> Array:
        """Returns the changed image of an image (3, height, width) uint8.

        Raises:
            DataError: the image has another number of channels.
        """
        if len(image) != 3:
            raise DataError(f"distort_param changes colours, but the image has {len(image)} channels")
        changes = [self._contrast, self._saturation, self._hue]
        if random.random() <= 0.5:
            changes = [*changes[1:], changes[0]]
        for change in (self._brightness, *changes, self._order):
            image = change(image, random)
        return image

    def _brightness(self, image: Array, random: np.random.Generator) -> Array:
        most = self._param.brightness_delta
        if random.random() >= self._param.brightness_prob:
            return image
        return bytes_of(image + np.float32(random.uniform(-most, most)))

    def _contrast(self, image: Array, random: np.random.Generator) -> Array:
        if random.random() >= self._param.contrast_prob:
            return image
        return bytes_of(image * np.float32(random.uniform(self._param.contrast_lower, self._param.contrast_upper)))

    def _saturation(self, image: Array, random: np.random.Generator) -> Array:
        if random.random() >= self._param.saturation_prob:
            return image
        factor = np.float32(random.uniform(self._param.saturation_lower, self._param.saturation_upper))
        hue, saturation, value = to_hsv(image)
        return from_hsv(np.stack([hue, bytes_of(saturation * factor), value]))

    def _hue(self, image: Array, random: np.random.Generator) -> Array:
        if random.random() >= self._param.hue_prob:
            return image
        turn = np.float32(random.uniform(-self._param.hue_delta, self._param.hue_delta))
        hue, saturation, value = to_hsv(image)
        # as in SSD's code, hues do not go round below 0
        return from_hsv(np.stack([bytes_of(hue + turn), saturation, value]))

    def _order(self, image: Array, random: np.random.Generator) -> Array:
        return image if random.random() >= self._param.random_order_prob else random.permutation(image)
