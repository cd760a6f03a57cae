"""Transforms an image and its label image in the same way, as PSPNet's and DeepLab's data layers do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from demitasse.caffe import schema
from demitasse.errors import DataError, NetError
from demitasse.extras import needs

if TYPE_CHECKING:
    from demitasse.caffe.images.label_image import Labels

Image = NDArray[np.uint8]
Plane = NDArray[np.float32]
Shape = tuple[int, ...]

_FIELDS = {
    *("scale", "mirror", "crop_size", "crop_h", "crop_w", "mean_file", "mean_value"),
    *("rand_resize", "rand_aspect_ratio", "rand_rotate", "gaussian_blur", "rotate90n", "use_gpu_transform"),
}
_MOST_BLUR = 0.6  # pixels


class Pair(NamedTuple):
    """What goes into the net: image (channels, height, width) and classes (1, height, width)."""

    image: Plane
    labels: Plane


class PairTransform:
    """Resizes, rotates, blurs, pads and crops an image and its labels together.

    ``rand_resize`` multiplies the size by a random factor and, half of the time, changes the ratio of width and height
    by one of ``rand_aspect_ratio``. ``rand_rotate`` turns half of the pairs by an angle in degrees.
    ``gaussian_blur`` blurs half of the images. A pair smaller than the crop is padded on all sides. The crop is random
    in phase TRAIN and central in TEST; ``rotate90n`` then turns it by a multiple of 90 degrees, and ``mirror`` mirrors
    half of the pairs. In padding and in the corners of rotated images, the image has the mean and the labels are
    ``ignore_label``.

    Args:
        param: the TransformationParameter.
        phase: ``schema.TRAIN`` or ``schema.TEST``.
        ignore_label: the class of pixels that do not count.

    Raises:
        NetError: settings exclude each other, or are not for label images.
    """

    def __init__(self, param: schema.TransformationParameter, phase: int, ignore_label: int) -> None:
        if unknown := {field.name for field, _ in param.ListFields()} - _FIELDS:
            raise NetError(
                f"transform_param has {', '.join(sorted(unknown))}, which images with label images do not take"
            )
        if param.mean_file:
            raise NetError("transform_param has a mean_file, whose size fits no other crop; give mean_value")
        if (param.crop_size and (param.crop_h or param.crop_w)) or bool(param.crop_h) != bool(param.crop_w):
            raise NetError("transform_param takes either crop_size, or both crop_h and crop_w")
        self.crop: tuple[int, int] = (param.crop_h or param.crop_size, param.crop_w or param.crop_size)
        if param.rotate90n and self.crop[0] != self.crop[1]:
            raise NetError(f"rotate90n turns squares; the crop is {self.crop[0]} x {self.crop[1]} pixels")
        self._resize = _range("rand_resize", param.rand_resize, least=0.01)
        self._ratio = _range("rand_aspect_ratio", param.rand_aspect_ratio, least=0.01)
        self._angles = _range("rand_rotate", param.rand_rotate)
        self._param, self._phase, self._ignored = param, phase, ignore_label
        self._means = np.array(param.mean_value or [0], np.float32).reshape(-1, 1, 1)

    def output_shape(self, shape: Shape) -> Shape:
        """Returns the shape in the net of an image of this shape, both (channels, height, width).

        Raises:
            DataError: the mean does not fit the image, or pairs of random size are not cropped.
        """
        channels, height, width = shape
        if len(self._means) not in (1, channels):
            raise DataError(f"found {len(self._means)} mean_value for {channels} channels; expected 1 or {channels}")
        if self._resize and not self.crop[0]:
            raise DataError("with rand_resize, images have different sizes; set crop_size")
        return (channels, self.crop[0] or height, self.crop[1] or width)

    def __call__(self, image: Image, labels: Labels, random: np.random.Generator) -> Pair:
        """Returns the pair for the net.

        Args:
            image: (channels, height, width).
            labels: (height, width).
            random: draws what is random.
        """
        if self._resize:
            image, labels = self._resized(image, labels, random.uniform(*self._resize), random)
        pair = Pair(image.astype(np.float32), labels.astype(np.float32)[None])
        if self._angles and random.integers(2):
            pair = self._rotated(pair, random.uniform(*self._angles))
        if self._param.gaussian_blur and random.integers(2):
            pair = pair._replace(image=_blurred(pair.image, random.uniform(0, _MOST_BLUR)))
        if self.crop[0]:
            pair = self._cropped(self._padded(pair), random)
        if self._param.rotate90n:
            turns = -int(random.integers(4))  # clockwise
            pair = Pair(*(np.rot90(plane, turns, axes=(1, 2)) for plane in pair))
        if self._param.mirror and random.integers(2):
            pair = Pair(*(plane[:, :, ::-1] for plane in pair))
        return pair._replace(image=(pair.image - self._means) * np.float32(self._param.scale))

    def _resized(
        self, image: Image, labels: Labels, factor: float, random: np.random.Generator
    ) -> tuple[Image, Labels]:
        from demitasse.caffe.images.codec import resize
        from demitasse.caffe.images.label_image import resize_nearest

        ratio = math.sqrt(random.uniform(*self._ratio)) if self._ratio and random.integers(2) else 1.0
        scales = (factor / ratio, factor * ratio)
        height, width = (max(round(size * by), 1) for size, by in zip(labels.shape, scales, strict=True))
        return resize(image, height, width), resize_nearest(labels, height, width)

    def _rotated(self, pair: Pair, degrees: float) -> Pair:
        with needs("PIL"):
            from PIL import Image as Pillow

        def turned(plane: Plane, fill: float, how: Pillow.Resampling) -> Plane:
            return np.asarray(Pillow.fromarray(plane).rotate(degrees, how, fillcolor=fill))

        means = np.broadcast_to(self._means.ravel(), len(pair.image))
        image = [
            turned(plane, float(mean), Pillow.Resampling.BILINEAR)
            for plane, mean in zip(pair.image, means, strict=True)
        ]
        labels = turned(pair.labels[0], float(self._ignored), Pillow.Resampling.NEAREST)
        return Pair(np.stack(image), labels[None])

    def _padded(self, pair: Pair) -> Pair:
        """Returns a pair of at least the size of the crop."""
        rest = [max(crop - size, 0) for crop, size in zip(self.crop, pair.image.shape[1:], strict=True)]
        if not any(rest):
            return pair
        sides = [(0, 0), *((pixels // 2, pixels - pixels // 2) for pixels in rest)]
        inside = np.pad(np.ones_like(pair.labels, bool), sides)
        image, labels = (np.pad(plane, sides) for plane in pair)
        ignored = np.float32(self._ignored)
        return Pair(np.where(inside, image, self._means), np.where(inside, labels, ignored))

    def _cropped(self, pair: Pair, random: np.random.Generator) -> Pair:
        rooms = [size - crop for size, crop in zip(pair.image.shape[1:], self.crop, strict=True)]
        is_random = self._phase == schema.TRAIN
        top, left = (int(random.integers(room + 1)) if is_random else room // 2 for room in rooms)
        return Pair(*(plane[:, top : top + self.crop[0], left : left + self.crop[1]] for plane in pair))


def _range(name: str, values: Sequence[float], least: float = -math.inf) -> tuple[float, float] | None:
    """Returns the lower and the upper limit of a setting; None if it is not given."""
    if not values:
        return None
    if not (len(values) == 2 and least <= values[0] < values[1] < math.inf):
        above = f", from {least}" if math.isfinite(least) else ""
        raise NetError(f"{name} is {list(values)}; expected two numbers, the lower first{above}")
    return values[0], values[1]


def _blurred(image: Plane, sigma: float) -> Plane:
    """Blurs by a Gaussian of 5 x 5 pixels."""
    taps = np.exp(-(np.arange(-2, 3) ** 2) / (2 * max(sigma, 1e-3) ** 2)).astype(np.float32)
    taps /= taps.sum()
    _, height, width = image.shape
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="edge")
    rows = sum(tap * padded[:, at : at + height] for at, tap in enumerate(taps))
    return np.asarray(sum(tap * rows[:, :, at : at + width] for at, tap in enumerate(taps)), np.float32)
