"""Transforms images between a source and the net, as set in Caffe's ``transform_param``."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demitasse.caffe import schema
from demitasse.caffe.images.colour import require_bytes
from demitasse.caffe.images.mean import read_mean
from demitasse.caffe.images.noise import NoisePolicy
from demitasse.caffe.images.resize_policy import ResizePolicy
from demitasse.caffe.images.resizing import Resized, Window, copy_window
from demitasse.errors import DataError, NetError

Image = NDArray[Any]
Batch = NDArray[np.float32]
Shape = tuple[int, ...]
Windowed = Image | Resized

# setting -> the data layers that take it, where single images without boxes do not
_PAIRED, _BOXED = "ImageSegData or DenseImageData", "AnnotatedData"
_OTHERS = {
    **dict.fromkeys(("rand_resize", "rand_aspect_ratio", "rand_rotate", "gaussian_blur", "rotate90n"), _PAIRED),
    **dict.fromkeys(("distort_param", "expand_param", "emit_constraint"), _BOXED),
    **dict.fromkeys(("random_resize_param", "random_aspect_ratio_param"), "Intel's fork"),
}
# bytes of a batch that are processed at a time
_CACHE = 1 << 18


class ImageTransform:
    """Resizes, crops, subtracts the mean, scales and mirrors: ``(crop(x) - mean) * scale``, then the mirror.

    ``resize_param`` and ``noise_param`` of SSD come first: :meth:`prepare`. Crops are random in phase TRAIN and centred
    in TEST. With ``mirror``, each image is mirrored with probability 1/2 in both phases, as in Caffe. A mean file is
    cropped like the image. ``force_color`` and ``force_gray`` apply when encoded images are decoded; raw images keep
    their channels.

    Args:
        param: the TransformationParameter.
        phase: ``schema.TRAIN`` or ``schema.TEST``.
        force_color: the setting ``force_encoded_color`` of the data layer.
        has_boxes: whether the caller applies the settings of images with boxes.

    Attributes:
        color: whether encoded images are decoded to BGR (True), to grey (False), or with their own channels (None).
        draws: whether the transformation uses random numbers.
        prepares: whether images are changed before the crop.

    Raises:
        NetError: settings exclude each other, or are those of other data layers.
        FileFormatError: the mean file cannot be read.
    """

    def __init__(
        self, param: schema.TransformationParameter, phase: int, force_color: bool = False, has_boxes: bool = False
    ) -> None:
        for field, _ in param.ListFields():
            takers = _OTHERS.get(field.name)
            if takers and not (has_boxes and takers == _BOXED):
                raise NetError(f"transform_param has {field.name}, which only {takers} takes")
        color = param.force_color or force_color
        if color and param.force_gray:
            raise NetError("force_color and force_gray exclude each other")
        if param.mean_file and param.mean_value:
            raise NetError("transform_param has both mean_file and mean_value; give one of them")
        self.color = True if color else False if param.force_gray else None
        self._crop = _crop_size(param)
        self._random_crop = self._crop is not None and phase == schema.TRAIN
        self._mirror: bool = param.mirror
        self._policies: list[ResizePolicy | NoisePolicy] = []
        if param.HasField("resize_param"):
            self._policies.append(ResizePolicy(param.resize_param))
        if param.HasField("noise_param"):
            self._policies.append(NoisePolicy(param.noise_param))
        self.prepares = bool(self._policies)
        self.draws = self._random_crop or self._mirror or any(policy.draws for policy in self._policies)
        self._scale = np.float32(param.scale)
        self._mean = read_mean(param.mean_file) if param.mean_file else None
        self._mean_values = np.array(param.mean_value, np.float32).reshape(-1, 1, 1)

    @property
    def means(self) -> Batch:
        """The mean of each channel, or one for all of them; 0 without a mean."""
        if self._mean is not None:
            means: Batch = self._mean.mean((1, 2))
            return means
        return self._mean_values.ravel() if len(self._mean_values) else np.zeros(1, np.float32)

    def output_shape(self, shape: Shape) -> Shape:
        """Returns the shape in the net of an image of this shape, both (channels, height, width).

        Raises:
            DataError: the crop or the mean does not fit the image.
        """
        for policy in self._policies:
            shape = policy.new_shape(shape) if isinstance(policy, ResizePolicy) else shape
        return self.crop_shape(shape)

    def prepare(self, image: Windowed, random: np.random.Generator) -> Image:
        """Returns an image as it is before the crop: resized, and changed by ``noise_param``.

        Raises:
            DataError: its values are not 8-bit pixels, or its number of channels does not fit.
        """
        if isinstance(image, Resized):
            pixels = np.empty(image.shape, np.uint8)
            copy_window(image, (slice(None), slice(None), slice(None)), False, pixels)
            image = pixels
        for policy in self._policies:
            image = policy(require_bytes(image), random)
        return image

    def crop_shape(self, shape: Shape) -> Shape:
        """Returns the shape in the net of a prepared image of this shape, both (channels, height, width).

        Raises:
            DataError: the crop or the mean does not fit the image.
        """
        channels, height, width = shape
        if self._crop is not None and (self._crop[0] > height or self._crop[1] > width):
            size = self._crop[0] if self._crop[0] == self._crop[1] else " x ".join(map(str, self._crop))
            raise DataError(f"crop_size {size} is larger than the image of shape {list(shape)}")
        if self._mean is not None and self._mean.shape != shape:
            raise DataError(f"the mean file has shape {list(self._mean.shape)}, but the image {list(shape)}")
        if len(self._mean_values) not in (0, 1, channels):
            raise DataError(
                f"found {len(self._mean_values)} mean_value for {channels} channels; expected 1 or {channels}"
            )
        return (channels, *(self._crop or (height, width)))

    def __call__(
        self, images: Iterable[Windowed], count: int, random: np.random.Generator, rank: int = 0, ranks: int = 1
    ) -> Batch:
        """Returns the batch, (count, channels, height, width) float32.

        Args:
            images: (channels, height, width) each, arrays or images to be resized, with the same ``crop_shape``;
                consumed a few at a time, so that they stay in the processor's cache.
            count: the number of images.
            random: draws the mirrors, then the crops, for the images of all processes.
            rank: these images are number ``rank``, ``rank + ranks`` ... of all images.
            ranks: the number of processes that train together.
        """
        mirrors, places = self.draw(count * ranks, slice(rank, None, ranks), random)
        images = iter(images)
        taken = [next(images)]
        batch = np.empty((count, *self.crop_shape(taken[0].shape)), np.float32)
        step = max(_CACHE // batch[0].nbytes, 1)
        for start in range(0, count, step):
            part = slice(start, start + step)
            taken += islice(images, min(step, count - start) - len(taken))
            self.fill(batch[part], taken, mirrors[part], places[part])
            taken = []
        return batch

    def draw(self, count: int, own: slice, random: np.random.Generator) -> tuple[list[bool], list[tuple[float, float]]]:
        """Returns which images to mirror, and the crop positions in 0..1; the number of draws depends on no size."""
        mirrors = random.integers(2, size=count, dtype=bool) if self._mirror else np.zeros(count, bool)
        places = random.random((count, 2)) if self._random_crop else np.zeros((count, 2))
        return mirrors[own].tolist(), places[own].tolist()

    def window(self, shape: Shape, place: tuple[float, float]) -> Window:
        """Returns the window of a prepared image to crop, from a position that was drawn."""
        _, *sizes = shape
        if self._crop is None:
            return (slice(None), slice(0, sizes[0]), slice(0, sizes[1]))
        rest = [size - crop for size, crop in zip(sizes, self._crop, strict=True)]
        top, left = (
            [int(at * (room + 1)) for at, room in zip(place, rest, strict=True)]
            if self._random_crop
            else [room // 2 for room in rest]
        )
        return (slice(None), slice(top, top + self._crop[0]), slice(left, left + self._crop[1]))

    def fill(
        self, batch: Batch, images: list[Windowed], mirrors: list[bool], places: list[tuple[float, float]]
    ) -> None:
        """Fills a part of the batch with prepared images."""
        for target, image, mirror, place in zip(batch, images, mirrors, places, strict=True):
            window = self.window(image.shape, place)
            copy_window(image, window, mirror, target)
            if self._mean is not None:
                target -= self._mean[window][:, :, ::-1] if mirror else self._mean[window]
        if len(self._mean_values):
            batch -= self._mean_values
        if self._scale != 1:
            batch *= self._scale


def _crop_size(param: schema.TransformationParameter) -> tuple[int, int] | None:
    """Returns the height and width of a crop; None for none.

    Raises:
        NetError: one of ``crop_h`` and ``crop_w`` is missing.
    """
    if param.crop_size:
        return param.crop_size, param.crop_size
    if bool(param.crop_h) != bool(param.crop_w):
        raise NetError(f"crop_h is {param.crop_h} and crop_w {param.crop_w}; give both or neither")
    return (param.crop_h, param.crop_w) if param.crop_h else None
