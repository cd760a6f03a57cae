"""What happens to images between a source and the net: Caffe's ``transform_param``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from demitasse.caffe import schema
from demitasse.caffe.model_file import read_mean
from demitasse.errors import DataError, NetError

Image = np.ndarray[Any, np.dtype[Any]]
Batch = np.ndarray[Any, np.dtype[np.float32]]
Shape = tuple[int, ...]


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

    def __call__(self, images: Sequence[Image], random: np.random.Generator, rank: int = 0, ranks: int = 1) -> Batch:
        """Returns the batch, (n, channels, height, width) float32.

        Args:
            images: (channels, height, width) each, whose ``output_shape`` is the same.
            random: draws the mirrors, then the crops, for the images of all processes.
            rank: these images are number ``rank``, ``rank + ranks`` ... of them.
            ranks: the number of processes that train together.
        """
        mirrors, corners = self._draw([image.shape[1:] for image in images], random, rank, ranks)
        batch = np.stack([self._window(image, *at) for image, at in zip(images, corners, strict=True)])
        batch = batch.astype(np.float32)
        if self._mean is not None:
            batch -= np.stack([self._window(self._mean, *at) for at in corners])
        elif len(self._mean_values):
            batch -= self._mean_values
        if self._scale != 1:
            batch *= self._scale
        if self._mirror:
            batch[mirrors] = batch[mirrors][..., ::-1]
        return batch

    def _draw(
        self, sizes: list[Shape], random: np.random.Generator, rank: int, ranks: int
    ) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], list[list[int]]]:
        """Returns which images to mirror, and the upper left corner of each crop."""
        count, own = len(sizes) * ranks, slice(rank, None, ranks)
        mirrors = (random.integers(2, size=count, dtype=bool) if self._mirror else np.zeros(count, bool))[own]
        rest = np.array(sizes) - self._crop if self._crop else np.zeros((len(sizes), 2), int)
        # by numbers in 0..1: how much is drawn must not depend on the sizes of images that others read
        corners = (random.random((count, 2))[own] * (rest + 1)).astype(int) if self._random_crop else rest // 2
        return mirrors, corners.tolist()

    def _window(self, image: Image, top: int, left: int) -> Image:
        if not self._crop:
            return image
        return image[:, top : top + self._crop, left : left + self._crop]
