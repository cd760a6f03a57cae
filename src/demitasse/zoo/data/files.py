"""Images in files of the user's own: a folder for each class, or a list as Caffe has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from demitasse.errors import DataError, UsageError, parameter
from demitasse.preparation import Preparation
from demitasse.preparation.image_files import (
    ImageFile,
    ImageFiles,
    class_folders,
    decoded,
    files_of_folder,
    files_of_list,
)
from demitasse.zoo.data.base import DATASETS
from demitasse.zoo.data.images import ImageSplits, ImageTrainingData
from demitasse.zoo.data.preparing import Numbers, Sides, normalised, preparation_of
from demitasse.zoo.data.splitting import SEED, split_by_class

TRAIN, TESTS = "train", ("test", "val")


@DATASETS.register("images")
def images(
    path: Path | None,
    batch: int = 128,
    seed: int = 1,
    test_batch: int = 500,
    size: Sides = None,
    crop: Sides = None,
    channels: str = "rgb",
    mean: Numbers = None,
    scale: Numbers = None,
    shift: int = 0,
    mirror: bool = False,
    test: str = "",
    test_share: float = 0.2,
    holdout: int = 0,
    root: str = "",
    classes: tuple[str, ...] = (),
    memory: int = 512,
) -> ImageTrainingData:
    """Returns images in files, which are decoded when they are needed: they may be more than memory holds.

    Args:
        path: a folder with a folder for each class, or with ``train`` and ``test`` or ``val``, each with a folder for
            each class; or a list, ``<file> <label>`` a line.
        batch: see :class:`ImageTrainingData`.
        seed: see :class:`ImageTrainingData`.
        test_batch: see :class:`ImageTrainingData`.
        size: (height, width) to which images are resized, or one number for both; None if all have the same size.
        crop: (height, width) of the centre that is kept, or one number for both; None for all.
        channels: ``rgb``, ``bgr`` or ``grey``.
        mean: is subtracted from pixels of 0 to 255: one number, or one for each channel. Without ``mean`` and
            ``scale``, they are those that give up to 1,000 training images mean 0 and deviation 1.
        scale: the factor of the difference: one number, or one for each channel.
        shift: see :class:`ImageTrainingData`.
        mirror: see :class:`ImageTrainingData`.
        test: a folder or list with the test images, beside ``path``.
        test_share: the share of each class to test with, if there are no test images.
        holdout: number of training images, drawn at random but always the same ones, to test with instead of the test
            images, for choosing settings.
        root: the folder that the names of a list are relative to, itself relative to the list's folder.
        classes: the names of the classes of a list, in the order of their numbers.
        memory: the most MiB of decoded pixels to keep, for each of training and testing.

    Raises:
        UsageError: a setting is not valid.
        DataError: a file or folder is missing, a class has no images, a line of a list is malformed, or a label is
            out of range. A file that is no image raises when it is decoded.
    """
    if path is None:
        raise DataError(
            f"images: the path is missing; give a folder of <class>/<image>, or a list ({parameter('data')})"
        )
    if memory < 0:
        raise UsageError(f"memory is {memory}; expected 0 or more MiB")
    names, parts, notes = _found(path, root, classes, test, test_share)
    train, tests = (_shuffled(part) for part in parts)
    first = Preparation(channels, (1, 1))
    found = decoded(train[0], first).shape[1:] if size is None else size
    preparation = preparation_of(found, crop, channels, mean, scale)
    training = ImageFiles(train, preparation, size is not None, memory << 20)
    if mean is None and scale is None:
        preparation = normalised(preparation, training)
    splits = ImageSplits(
        training, _labels(train), ImageFiles(tests, preparation, size is not None, memory << 20), _labels(tests)
    )
    data = ImageTrainingData(splits, shift, mirror, batch, seed, test_batch, holdout, names, preparation)
    data.notes = notes
    return data


def _shuffled(files: Sequence[ImageFile]) -> Sequence[ImageFile]:
    """Returns the files in a random order, always the same: a part of them has images of all classes."""
    return [files[index] for index in np.random.default_rng(SEED).permutation(len(files))]


Parts = tuple[Sequence[ImageFile], Sequence[ImageFile]]


def _found(
    path: Path, root: str, classes: Sequence[str], test: str, share: float
) -> tuple[Sequence[str], Parts, list[str]]:
    """Returns the names of the classes, the files to train and to test with, and notes."""
    train, tests = path, path.parent / test if test else None
    if path.is_dir():
        if root or classes:
            raise UsageError(f"{'root' if root else 'classes'} is given, but {path} is a folder; it is for lists")
        if not test:
            train, tests = _inside(path)
        classes = class_folders(train)
    elif not path.exists():
        raise DataError(f"{path}: there is no such file; expected a folder of <class>/<image>, or a list")
    files, others = (_files(each, root, classes) if each else [] for each in (train, tests))
    if others:
        return classes, (files, others), []
    kept, tested, note = split_by_class(_labels(files), share, str(path))
    return classes, ([files[index] for index in kept], [files[index] for index in tested]), [note]


def _inside(path: Path) -> tuple[Path, Path | None]:
    """Returns the folders with the classes to train and to test with; ``train`` alone may be a class among others."""
    found = class_folders(path)
    tests = next((name for name in TESTS if name in found), None)
    if TRAIN in found and (tests or found == [TRAIN]):
        return path / TRAIN, path / tests if tests else None
    return path, None


def _files(path: Path, root: str, classes: Sequence[str]) -> list[ImageFile]:
    return files_of_folder(path, classes) if path.is_dir() else files_of_list(path, path.parent / root, classes)


def _labels(files: Sequence[ImageFile]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array([file.label for file in files], np.int64)
