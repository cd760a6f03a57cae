"""Arrays of the user's own, in a file of NumPy."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from demitasse.arrays import Array
from demitasse.datasets import Dataset
from demitasse.errors import DataError, FileFormatError, UsageError, parameter, visible
from demitasse.preparation import Preparation
from demitasse.zoo.data.base import DATASETS, TrainingData
from demitasse.zoo.data.checks import checked_batch
from demitasse.zoo.data.images import ImageTrainingData
from demitasse.zoo.data.own import own_data
from demitasse.zoo.data.preparing import Numbers, Sides, normalised, preparation_of
from demitasse.zoo.data.splitting import split_by_class

# names of the arrays: inputs and labels to train with, to test with; those of Keras
_NAMES = (
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
)


@DATASETS.register("npz")
def npz(
    path: Path | None,
    batch: int = 128,
    seed: int = 1,
    test_batch: int = 500,
    size: Sides = None,
    crop: Sides = None,
    channels: str = "",
    mean: Numbers = None,
    scale: Numbers = None,
    shift: int = 0,
    mirror: bool = False,
    test_share: float = 0.2,
    holdout: int = 0,
    classes: tuple[str, ...] = (),
) -> TrainingData:
    """Returns the arrays of a ``.npz`` file: images if they are uint8, else inputs as the model takes them.

    Args:
        path: the file, with ``train_images``, ``train_labels``, ``test_images`` and ``test_labels``, or with
            ``x_train``, ``y_train``, ``x_test`` and ``y_test``. Images are (n, height, width),
            (n, height, width, channels) or (n, channels, height, width) uint8 with 1 or 3 channels, red first; other
            inputs are (n, ...) of floating-point numbers, or of integers such as tokens. Without test arrays, a share
            of each class is for testing.
        batch: see :class:`ImageTrainingData`.
        seed: see :class:`ImageTrainingData`.
        test_batch: see :class:`ImageTrainingData`.
        size: (height, width) to which images are resized, or one number for both; None keeps their size.
        crop: (height, width) of the centre that is kept, or one number for both; None for all.
        channels: ``rgb``, ``bgr`` or ``grey``; by default those of the arrays.
        mean: is subtracted from pixels of 0 to 255: one number, or one for each channel. Without ``mean`` and
            ``scale``, they are those that give the training images mean 0 and deviation 1.
        scale: the factor of the difference: one number, or one for each channel.
        shift: see :class:`ImageTrainingData`.
        mirror: see :class:`ImageTrainingData`.
        test_share: the share of each class to test with, if there are no test arrays.
        holdout: see :class:`ImageTrainingData`.
        classes: the names of the classes, in the order of their numbers.

    Raises:
        UsageError: a setting is not valid, or is for images, and there are none.
        DataError: the file is missing, or its arrays are not valid; names the array.
        FileFormatError: the file is damaged or of another kind.
    """
    if path is None:
        raise DataError(f"npz: the path is missing; give the file ({parameter('data')})")
    arrays = _read(path)
    names = next((names for names in _NAMES if names[0] in arrays), None)
    if names is None:
        expected = " or ".join(", ".join(each) for each in _NAMES)
        raise DataError(f"{path}: found the arrays {', '.join(map(visible, arrays)) or 'none'}; expected {expected}")
    parts = [
        _pair(arrays, pair, str(path)) for pair in (names[:2], names[2:]) if pair[0] in arrays or pair[1] in arrays
    ]
    _check_labels(parts, len(classes), str(path))
    settings = (size, crop, channels or None, mean, scale, shift or None, mirror or None, holdout or None)
    if parts[0][0].dtype != np.uint8:
        if any(each is not None for each in settings):
            raise UsageError(
                f"{path}: {names[0]} is {parts[0][0].dtype}, which is used as it is, but settings of images are given; "
                "expected uint8, or only batch, test_batch, test_share and classes"
            )
        found = {"train": parts[0], "test": parts[1] if parts[1:] else None, "classes": list(classes)}
        return own_data(found, str(path), batch, seed, test_batch, test_share)
    images, note = _split([_channels_first(each, names[0], path) for each, _ in parts], parts, test_share, str(path))
    preparation = preparation_of(
        images.train_images.shape[2:] if size is None else size, crop, channels or _order(images), mean, scale
    )
    images = images._replace(
        train_images=_prepared(images.train_images, preparation), test_images=_prepared(images.test_images, preparation)
    )
    if mean is None and scale is None:
        preparation = normalised(preparation, images.train_images)
    data = ImageTrainingData(images, shift, mirror, batch, seed, test_batch, holdout, classes, preparation)
    data.notes = [note] if note else []
    return data


def _read(path: Path) -> Mapping[str, Array]:
    """Returns the arrays of a file by name.

    Raises:
        DataError: the file cannot be read, or an array holds Python objects.
        FileFormatError: the file is damaged or of another kind.
    """
    wanted = {name for names in _NAMES for name in names}
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            if not isinstance(found, np.lib.npyio.NpzFile):
                raise FileFormatError(f"{path}: not an .npz file; expected one of numpy.savez")
            # the names of the others, for messages
            return {name: _array(found, name, path) if name in wanted else np.empty(0) for name in found.files}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FileFormatError(f"{path}: not a complete .npz file: {error}") from error


def _array(found: np.lib.npyio.NpzFile, name: str, path: Path) -> Array:
    try:
        array: Array = found[name]
    except (ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, MemoryError, zlib.error) as error:
        if "allow_pickle" in str(error):
            raise DataError(f"{path}: {name} holds Python objects; expected numbers") from error
        raise FileFormatError(f"{path}: {name} cannot be read: {error}") from error
    return array


def _pair(arrays: Mapping[str, Array], names: Sequence[str], place: str) -> tuple[Array, Array]:
    """Returns inputs and labels of the same length.

    Raises:
        DataError: one is missing, their lengths differ, or their values are not valid.
    """
    for name, other in (names, names[::-1]):
        if name not in arrays:
            raise DataError(f"{place}: there is no array {name} beside {other}")
    inputs, labels = (arrays[name] for name in names)
    # images are checked by their labels alone
    values = np.zeros(inputs.shape[:1], np.float32) if inputs.dtype == np.uint8 else inputs
    found, targets = checked_batch(values, labels, f"{place}: {names[0]}, {names[1]}")
    return (inputs if inputs.dtype == np.uint8 else found.numpy()), targets.numpy()


def _check_labels(parts: Sequence[tuple[Array, Array]], classes: int, place: str) -> None:
    highest = max(int(labels.max()) for _, labels in parts)
    if classes and highest >= classes:
        raise DataError(
            f"{place}: label {highest} is out of range; expected 0 to {classes - 1}, the numbers of the classes"
        )


def _channels_first(images: Array, name: str, path: Path) -> Array:
    """Returns images as (n, channels, height, width)."""
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[3] in (1, 3):
        return images.transpose(0, 3, 1, 2)
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return images
    raise DataError(
        f"{path}: {name} has shape {images.shape} of uint8; expected images (n, height, width), (n, height, width, "
        "channels) or (n, channels, height, width) with 1 or 3 channels"
    )


def _split(
    images: Sequence[Array], parts: Sequence[tuple[Array, Array]], share: float, place: str
) -> tuple[Dataset, str]:
    """Returns what to train and to test with, and a note where it had to be split."""
    if images[1:]:
        if images[0].shape[1:] != images[1].shape[1:]:
            shapes = " and ".join(str(each.shape[1:]) for each in images)
            raise DataError(f"{place}: images to train and to test with are {shapes}; expected the same shape")
        return Dataset(images[0], parts[0][1], images[1], parts[1][1]), ""
    train, test, note = split_by_class(parts[0][1], share, place)
    return Dataset(images[0][train], parts[0][1][train], images[0][test], parts[0][1][test]), note


def _order(images: Dataset) -> str:
    return "grey" if images.train_images.shape[1] == 1 else "rgb"


def _prepared(images: Array, preparation: Preparation) -> Array:
    """Returns images (n, channels, height, width), red first, resized and cropped, with their channels in order."""
    if not len(images):
        return np.empty((0, *preparation.shape), np.uint8)
    whole = [image[0] if len(image) == 1 else image.transpose(1, 2, 0) for image in images]
    return np.stack([preparation.resize(preparation.decode(image)) for image in whole])
