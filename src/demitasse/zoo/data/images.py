"""Images, normalised, and optionally shifted and mirrored at random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor
from typing_extensions import override

from demitasse.arrays import Array
from demitasse.datasets import Dataset, Labels
from demitasse.errors import UsageError
from demitasse.preparation import Preparation
from demitasse.zoo.data.base import Batch, SampledData, as_tensor
from demitasse.zoo.data.classification import ClassificationData

# number of channels -> what they are
_CHANNELS = {1: "grey", 3: "rgb"}


class PixelArray(Protocol):
    """Images (n, channels, height, width) uint8, in memory or in files."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, channels, height, width)."""

    def __getitem__(self, which: Any, /) -> Any:
        """Returns the pixels of some images, given by their indices, or a part of the images, given by a slice."""


class ImageSplits(NamedTuple):
    """Images and labels (n,) int64, to train and to test with."""

    train_images: PixelArray
    train_labels: Labels
    test_images: PixelArray
    test_labels: Labels


class ImageTrainingData(ClassificationData, SampledData):
    """Images (n, channels, height, width) float32, normalised by mean and deviation of the channels; labels (n,).

    Args:
        images: pixels and labels, to train and to test with.
        shift: the largest random shift of training images in pixels; the border becomes black.
        mirror: whether to mirror training images left to right with probability 1/2.
        batch: see :class:`SampledData`.
        seed: see :class:`SampledData`.
        test_batch: see :class:`SampledData`.
        holdout: number of training images, the last ones, to test with instead of the test images, for choosing
            settings. Mean and deviation remain those of all training images, so that a model computes the same with
            and without it.
        classes: the names of the classes; see :class:`TrainingData`.
        preparation: mean and scale, instead of those that normalise the training images.

    Raises:
        UsageError: ``holdout`` is not less than the number of training images.
    """

    def __init__(
        self,
        images: Dataset | ImageSplits,
        shift: int = 0,
        mirror: bool = False,
        batch: int = 128,
        seed: int = 1,
        test_batch: int = 500,
        holdout: int = 0,
        classes: Sequence[str] = (),
        preparation: Preparation | None = None,
    ) -> None:
        super().__init__(batch, seed, test_batch)
        self.mean: Tensor | None = None
        if shift < 0:
            raise UsageError(f"shift is {shift}; expected 0 or more")
        self.images = hold_out(images, holdout)
        self.shift, self.mirror, self.classes = shift, mirror, classes
        self.label_count = 1 + max(int(part.max(initial=-1)) for part in (images.train_labels, images.test_labels))
        if preparation is None:
            self._normalise(images.train_images)
        else:
            self.preparation = preparation
            self.mean, self.scale = (
                torch.tensor(each, dtype=torch.float32).reshape(-1, 1, 1)
                for each in (preparation.mean, preparation.scale)
            )

    def _normalise(self, images: PixelArray) -> None:
        """Makes mean and scale those with which the channels have mean 0 and deviation 1."""
        mean, deviation = channel_statistics(images[:])
        self.scale = 1 / (255 * deviation)
        self.offset = -mean / deviation
        channels, height, width = images.shape[1:]
        if order := _CHANNELS.get(channels):
            self.preparation = Preparation.normalized(
                order, (height, width), mean.flatten().tolist(), deviation.flatten().tolist()
            )

    @property
    @override
    def examples(self) -> int:
        return len(self.images.train_labels)

    @override
    def draw(self, random: np.random.Generator) -> Array:
        """Returns (n, 4): index of the image, shift down, shift to the right, whether to mirror."""
        draws = np.zeros((self.examples, 4), np.int64)
        draws[:, 0] = random.permutation(self.examples)
        if self.shift:
            draws[:, 1:3] = random.integers(0, 2 * self.shift + 1, (self.examples, 2))
        if self.mirror:
            draws[:, 3] = random.integers(0, 2, self.examples)
        return draws

    @override
    def train_batch(self, draws: Array) -> Batch:
        which, down, right, mirrored = draws.T
        pixels = self.images.train_images[which]
        if self.shift:
            pixels = shifted(pixels, self.shift, down, right)
        if self.mirror:
            pixels = np.where(mirrored[:, None, None, None] == 1, pixels[..., ::-1], pixels)
        return self._normalised(pixels), as_tensor(self.images.train_labels[which])

    def _normalised(self, pixels: Array) -> Tensor:
        values = as_tensor(pixels).float()
        if self.mean is not None:
            return values.sub_(self.mean).mul_(self.scale)  # with the bits of the preparation
        return values.mul_(self.scale).add_(self.offset)

    @override
    def test_batches(self) -> Iterator[Batch]:
        for start in range(0, len(self.images.test_labels), self.test_batch):
            part = np.arange(start, min(start + self.test_batch, len(self.images.test_labels)))
            yield self._normalised(self.images.test_images[part]), as_tensor(self.images.test_labels[part])


def hold_out(images: Dataset | ImageSplits, count: int) -> Dataset | ImageSplits:
    """Replaces the test images by the last ``count`` training images, which are no longer trained; 0 changes nothing.

    Raises:
        UsageError: ``count`` is negative or not less than the number of training images.
    """
    total = len(images.train_labels)
    if not 0 <= count < total:
        raise UsageError(f"holdout is {count}; expected 0 or more, and less than the {total} training images")
    pixels, labels = images.train_images, images.train_labels
    split = total - count
    return type(images)(pixels[:split], labels[:split], pixels[split:], labels[split:]) if count else images


def channel_statistics(images: Array) -> tuple[Tensor, Tensor]:
    """Returns mean and standard deviation of each channel, (channels, 1, 1) float32, of pixels from 0 to 1."""
    counts = np.stack([np.bincount(images[:, c].reshape(-1), minlength=256) for c in range(images.shape[1])])
    shares, levels = counts / counts.sum(1, keepdims=True), np.arange(256) / 255
    mean = shares @ levels
    deviation = np.sqrt(np.maximum(shares @ levels**2 - mean**2, 1e-12))
    return tuple(torch.tensor(part, dtype=torch.float32).reshape(-1, 1, 1) for part in (mean, deviation))  # type: ignore[return-value]


def shifted(pixels: Array, most: int, down: Array, right: Array) -> Array:
    """Adds a black frame of ``most`` pixels to every image, and crops it from row ``down`` and column ``right`` on.

    Args:
        pixels: (n, channels, height, width) uint8.
        most: width of the frame in pixels.
        down: (n,) integers from 0 to 2 * most.
        right: (n,) integers from 0 to 2 * most.

    Returns:
        (n, channels, height, width) uint8.
    """
    framed = np.pad(pixels, ((0, 0), (0, 0), (most, most), (most, most)))
    windows = sliding_window_view(framed, pixels.shape[2:], axis=(2, 3))
    # (n, channels, rows, columns, height, width): one window for each image
    cut: Array = windows[np.arange(len(pixels)), :, down, right]
    return cut
