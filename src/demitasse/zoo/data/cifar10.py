"""CIFAR-10 from JPEGs, in a zip file or unpacked: ``train|test/<class>/<n>.jpg``."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from demitasse.arrays import Array
from demitasse.datasets import Dataset
from demitasse.errors import DataError, FileFormatError, parameter
from demitasse.extras import needs
from demitasse.files import atomic_write, make_folder
from demitasse.zoo.data.base import DATASETS, cache_folder
from demitasse.zoo.data.images import ImageTrainingData

PARTS = ("train", "test")
SIDE = 32


@DATASETS.register("cifar10")
def cifar10(
    path: Path | None, batch: int = 128, seed: int = 1, test_batch: int = 500, shift: int = 4, mirror: bool = True
) -> ImageTrainingData:
    """Returns CIFAR-10: images (n, 3, 32, 32), 50,000 to train and 10,000 to test with.

    Args:
        path: the zip file or the folder.
        batch: see :class:`ImageTrainingData`.
        seed: see :class:`ImageTrainingData`.
        test_batch: see :class:`ImageTrainingData`.
        shift: see :class:`ImageTrainingData`.
        mirror: see :class:`ImageTrainingData`.

    Reference: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images. The usual augmentation, shifts
    by 4 and mirroring: He et al. 2016 (arXiv 1512.03385), section 4.2.
    """
    if path is None:
        raise DataError(
            f"cifar10: the path is missing; give the zip file or the folder with train|test/<class>/<n>.jpg "
            f"({parameter('data')})"
        )
    return ImageTrainingData(read_images(path), shift, mirror, batch, seed, test_batch, classes=class_names(path))


def read_images(path: Path) -> Dataset:
    """Returns all images of a zip file or folder; decodes them once and caches them.

    Classes are numbered in the alphabetical order of their names.

    Raises:
        DataError: there is no such file, or it has no images for training or for testing.
        FileFormatError: the zip file is cut short or corrupt, or a file in it is not a 32x32 image.
    """
    if not path.exists():
        raise DataError(f"{path}: there is no such file; expected a zip file or folder of train|test/<class>/<n>.jpg")
    cached = cache_folder() / f"cifar10-{_key(path)}.npz"
    if not cached.exists():
        images = _decode(path)
        make_folder(cached.parent)
        # another run may prepare the same images now: each writes a file of its own
        own = cached.with_suffix(f".{os.getpid()}.npz")
        with atomic_write(own) as file:
            np.savez(file, **images._asdict())
        own.replace(cached)
    try:
        with cached.open("rb") as prepared, np.load(prepared, allow_pickle=False) as stored:
            return Dataset(*(stored[name] for name in Dataset._fields))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise FileFormatError(f"{cached}: the prepared images are broken ({error}); delete the file") from error


def _key(path: Path) -> str:
    """Returns a key for the present content of a file or folder, from its path, sizes and times."""
    files = sorted(path.rglob("*.jpg")) if path.is_dir() else [path]
    facts = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def class_names(path: Path) -> list[str]:
    """Returns the names of the classes in a zip file or folder, in the order of their numbers.

    Raises:
        FileFormatError: the zip file is cut short or corrupt.
    """
    return sorted({place[1] for place in _listed(path)})


def _listed(path: Path) -> dict[tuple[str, ...], Callable[[], bytes]]:
    """Returns (part, class, file) -> what reads it."""
    listing = _folder(path) if path.is_dir() else _zip(path)
    files = {tuple(name.split("/")[-3:]): read for name, read in listing if name.endswith(".jpg")}
    return {place: read for place, read in files.items() if len(place) == 3 and place[0] in PARTS}


def _decode(path: Path) -> Dataset:
    found, classes = _listed(path), class_names(path)
    arrays = []
    for part in PARTS:
        places = sorted(place for place in found if place[0] == part)
        if not places:
            raise DataError(f"{path}: there is no {part}/<class>/<n>.jpg")
        arrays.append(np.stack([_pixels(found[place], f"{path}: {'/'.join(place)}") for place in places]))
        arrays.append(np.array([classes.index(place[1]) for place in places], np.int64))
    return Dataset(*arrays)


def _folder(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    for file in path.rglob("*.jpg"):
        yield file.relative_to(path).as_posix(), file.read_bytes


def _zip(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise FileFormatError(f"{path}: not a complete zip file: {error}") from error
    for info in archive.infolist():
        # an image takes about a kilobyte; skip files that claim to be much larger
        if info.file_size <= 1 << 20:
            yield info.filename, partial(archive.read, info)


def _pixels(read: Callable[[], bytes], place: str) -> Array:
    """Returns (3, 32, 32) uint8."""
    with needs("PIL"):
        from PIL import Image, UnidentifiedImageError
    try:
        with Image.open(io.BytesIO(read()), formats=["JPEG"]) as image:
            if image.size != (SIDE, SIDE):
                raise FileFormatError(f"{place}: found {image.width}x{image.height} pixels, expected {SIDE}x{SIDE}")
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except (UnidentifiedImageError, OSError, zipfile.BadZipFile) as error:
        raise FileFormatError(f"{place}: not a complete JPEG: {error}") from error
