"""Small grey images: MNIST, Fashion-MNIST, and the digits of scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demitasse import datasets
from demitasse.arrays import Array
from demitasse.errors import UsageError
from demitasse.zoo.data.base import DATASETS
from demitasse.zoo.data.images import ImageTrainingData


@DATASETS.register("digits")
def digits(
    path: Path | None = None,
    batch: int = 128,
    seed: int = 1,
    test_batch: int = 500,
    enlarge: bool = False,
    holdout: int = 0,
) -> ImageTrainingData:
    """Returns scikit-learn's digits, 8x8 pixels, 1,500 to train and 297 to test with.

    Args:
        path: must be None, since scikit-learn includes the digits.
        batch: see :class:`ImageTrainingData`.
        seed: see :class:`ImageTrainingData`.
        test_batch: see :class:`ImageTrainingData`.
        enlarge: whether to enlarge the images to 28x28 pixels like MNIST's: by a factor of 3, with a black frame of
            2 pixels.
        holdout: see :class:`ImageTrainingData`.
    """
    if path is not None:
        raise UsageError(f"path is {path}; expected none, since the digits come with scikit-learn")
    images = datasets.digits()
    if enlarge:
        images = images._replace(train_images=_enlarged(images.train_images), test_images=_enlarged(images.test_images))
    return ImageTrainingData(images, 0, False, batch, seed, test_batch, holdout)


def _enlarged(images: Array) -> Array:
    larger = images.repeat(3, axis=2).repeat(3, axis=3)
    return np.pad(larger, ((0, 0), (0, 0), (2, 2), (2, 2)))


@DATASETS.register("mnist")
def mnist(
    path: Path | None = None,
    batch: int = 64,
    seed: int = 1,
    test_batch: int = 1000,
    shift: int = 0,
    holdout: int = 0,
) -> ImageTrainingData:
    """Returns MNIST, 28x28 pixels, 60,000 to train and 10,000 to test with.

    Args:
        path: the folder with its four files; None downloads them once.
        batch: see :class:`ImageTrainingData`.
        seed: see :class:`ImageTrainingData`.
        test_batch: see :class:`ImageTrainingData`.
        shift: see :class:`ImageTrainingData`.
        holdout: see :class:`ImageTrainingData`.
    """
    return ImageTrainingData(datasets.mnist(path), shift, False, batch, seed, test_batch, holdout)


@DATASETS.register("fashion_mnist")
def fashion_mnist(
    path: Path | None = None,
    batch: int = 64,
    seed: int = 1,
    test_batch: int = 1000,
    shift: int = 0,
    mirror: bool = False,
    holdout: int = 0,
) -> ImageTrainingData:
    """Returns Fashion-MNIST, 28x28 pixels, 60,000 to train and 10,000 to test with.

    Args:
        path: the folder with its four files; None downloads them once.
        batch: see :class:`ImageTrainingData`.
        seed: see :class:`ImageTrainingData`.
        test_batch: see :class:`ImageTrainingData`.
        shift: see :class:`ImageTrainingData`.
        mirror: see :class:`ImageTrainingData`.
        holdout: see :class:`ImageTrainingData`.
    """
    names = "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"
    return ImageTrainingData(
        datasets.fashion_mnist(path), shift, mirror, batch, seed, test_batch, holdout, classes=names
    )
