"""What happens to images between a source and the net: Caffe's ``transform_param``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from demitasse.caffe import schema
from demitasse.caffe.model_file import read_mean
from demitasse.caffe.resizing import Resized, Window, copy_window
from demitasse.errors import DataError, NetError

Image = np.ndarray[Any, np.dtype[Any]]
Batch = np.ndarray[Any, np.dtype[np.float32]]
Shape = tuple[int, ...]
Windowed = Image | Resized

# bytes of a batch that are worked on at a time
_CACHE = 1 << 18


class Transformer:
    """Crops, subtracts the mean, scales and mirrors: ``(crop(x) - mean) * scale``, then the mirror.

    A crop is random in phase TRAIN and from the centre in TEST; a mirror, where asked for, is thrown by a coin
    in both phases, as in Caffe. A mean file is cropped like the image. ``force_color`` and ``force_gray`` act
    when encoded images are decoded; raw ones have the channels they have.

    Args:
        param: the TransformationParameter.
        phase: ``schema.TRAIN`` or ``schema.TEST``.
        force_color: a wish for colour from elsewhere, ``force_encoded_color``.

    Attributes:
        color: whether encoded images are decoded to BGR (True), to grey (False), or as they are (None).
        draws: whether random numbers decide.

    Raises:
        NetError: settings that exclude each other.
        FileFormatError: the mean file cannot be read.
    """

    def __init__(self, param: schema.Message, phase: int, force_color: bool = False) -> None:
        color = param.force_color or force_color
        if color and param.force_gray:
            raise NetError("force_color and force_gray exclude each other")
        if param.mean_file and param.mean_value:
            raise NetError("transform_param has both mean_file and mean_value; give one of them")
        self.color = True if color else False if param.force_gray else None
        self._crop: int = param.crop_size
        self._random_crop = bool(param.crop_size) and phase == schema.TRAIN
        self._mirror: bool = param.mirror
        self.draws = self._random_crop or self._mirror
        self._scale = np.float32(param.scale)
        self._mean = read_mean(param.mean_file) if param.mean_file else None
        self._mean_values = np.array(param.mean_value, np.float32).reshape(-1, 1, 1)

    def output_shape(self, shape: Shape) -> Shape:
        """Returns the shape that an image of this shape, (channels, height, width), has in the net.

        Raises:
            DataError: the crop or the mean does not fit.
        """
        channels, height, width = shape
        if self._crop > min(height, width):
            raise DataError(f"crop_size {self._crop} is larger than the image of shape {list(shape)}")
        if self._mean is not None and self._mean.shape != shape:
            raise DataError(f"the mean file has shape {list(self._mean.shape)}, the image {list(shape)}")
        if len(self._mean_values) not in (0, 1, channels):
            raise DataError(f"{len(self._mean_values)} mean_value for {channels} channels; give 1 or {channels}")
        return (channels, self._crop or height, self._crop or width)

    def __call__(self, images: Sequence[Windowed], random: np.random.Generator, rank: int = 0, ranks: int = 1) -> Batch:
        """Returns the batch, (n, channels, height, width) float32.

        Args:
            images: (channels, height, width) each, arrays or still to be resized, whose ``output_shape`` is the same.
            random: draws the mirrors, then the crops, for the images of all processes.
            rank: these images are number ``rank``, ``rank + ranks`` ... of them.
            ranks: the number of processes that train together.
        """
        size = self.output_shape(images[0].shape)
        mirrors, windows = self._draw([image.shape[1:] for image in images], random, rank, ranks)
        batch = np.empty((len(images), *size), np.float32)
        step = max(_CACHE // batch[0].nbytes, 1)
        for start in range(0, len(images), step):
            part = slice(start, start + step)
            self._fill(batch[part], images[part], mirrors[part], windows[part])
        return batch

    def _draw(
        self, sizes: list[Shape], random: np.random.Generator, rank: int, ranks: int
    ) -> tuple[list[bool], list[Window]]:
        """Returns which images to mirror, and what of each to take."""
        count, own, crop = len(sizes) * ranks, slice(rank, None, ranks), self._crop
        mirrors = (random.integers(2, size=count, dtype=bool) if self._mirror else np.zeros(count, bool))[own].tolist()
        if not crop:
            return mirrors, [(slice(None), slice(height), slice(width)) for height, width in sizes]
        rest = np.array(sizes) - crop
        # by numbers in 0..1: how much is drawn must not depend on the sizes of images that others read
        corners = (random.random((count, 2))[own] * (rest + 1)).astype(int) if self._random_crop else rest // 2
        return mirrors, [
            (slice(None), slice(top, top + crop), slice(left, left + crop)) for top, left in corners.tolist()
        ]

    def _fill(self, batch: Batch, images: Sequence[Windowed], mirrors: list[bool], windows: list[Window]) -> None:
        """Fills a part of the batch, which stays in the processor's cache meanwhile."""
        for target, image, mirror, window in zip(batch, images, mirrors, windows, strict=True):
            copy_window(image, window, mirror, target)
            if self._mean is not None:
                target -= self._mean[window][:, :, ::-1] if mirror else self._mean[window]
        if len(self._mean_values):
            batch -= self._mean_values
        if self._scale != 1:
            batch *= self._scale
