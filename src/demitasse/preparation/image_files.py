"""Labelled images in files: in folders named after their classes, or named by a list; decoded when they are needed."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from demitasse.errors import DataError, visible
from demitasse.preparation.preparation import Pixels, Preparation

# endings of image files, in lower case; files with others in the folder of a class are no images, and are left out
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class ImageFile(NamedTuple):
    """A labelled image.

    Attributes:
        path: its file.
        label: number of its class.
        place: the list and the line that name it, for messages; empty if none does.
    """

    path: Path
    label: int
    place: str


def class_folders(folder: Path) -> list[str]:
    """Returns the names of the folders in a folder, sorted: the classes, as torchvision's ImageFolder has them.

    Raises:
        DataError: the folder is missing or cannot be read, or has no folders in it.
    """
    try:
        found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}; expected a folder of <class>/<image>") from error
    if not found:
        raise DataError(f"{folder}: there are no folders in it; expected <class>/<image>")
    return found


def files_of_folder(folder: Path, classes: Sequence[str]) -> list[ImageFile]:
    """Returns the images in the folders of the classes, and in the folders inside these, sorted by path.

    Args:
        folder: the folder with a folder for each class.
        classes: the names of the classes, in the order of their numbers.

    Raises:
        DataError: the folder is missing, has a folder of another name, or one without images.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    found: list[ImageFile] = []
    for name in class_folders(folder):
        if name not in numbers:
            raise DataError(f"{folder / name}: there is no class {name!r}; known: {', '.join(classes)}")
        paths = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise DataError(f"{folder / name}: there are no images in it; expected files *{', *'.join(SUFFIXES)}")
        found += [ImageFile(path, numbers[name], "") for path in paths]
    return found


def files_of_list(path: Path, root: Path, classes: Sequence[str] = ()) -> list[ImageFile]:
    """Returns the images of a list of Caffe's ImageData: ``<file name> <label>`` a line.

    Args:
        path: the list.
        root: the folder that the names are relative to.
        classes: the names of the classes; labels must be below their number. Without names, any label from 0 on is
            valid.

    Raises:
        DataError: the list is missing, empty, or has a malformed line or a label that is out of range; names the line.
    """
    from demitasse.caffe.images.image_list import numbered_image_list

    found = []
    for number, (name, label) in numbered_image_list(path):
        if label < 0 or (classes and label >= len(classes)):
            expected = (
                f"from 0 to {len(classes) - 1}, since there are {len(classes)} classes" if classes else "0 or more"
            )
            raise DataError(f"{path}:{number}: label is {label}; expected {expected}")
        found.append(ImageFile(root / name, label, f"{path}:{number}"))
    return found


def drawn_files(path: Path, count: int, seed: int) -> list[Path]:
    """Returns some of the images in a folder and the folders inside it, or of those that a list names.

    They are drawn at random, since those of a class often stand together.

    Args:
        path: the folder; or the list, with the name of a file in each line, relative to the folder of the list. A label
            may follow the name, as in the lists of Caffe's ImageData, and is ignored.
        count: the most images.
        seed: of the draw.

    Raises:
        DataError: the folder or the list is missing, or has no images.
    """
    files = _in_folder(path) if path.is_dir() else _in_list(path)
    return [files[index] for index in np.random.default_rng(seed).permutation(len(files))[:count]]


def _in_folder(path: Path) -> list[Path]:
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(f"{path}: there are no images in it; expected files *{', *'.join(SUFFIXES)}")
    return found


def _in_list(path: Path) -> list[Path]:
    from demitasse.caffe.list_file import read_lines

    names = [line.strip() for line in read_lines(path, "a list of images") if line.strip()]
    if not names:
        raise DataError(f"{path}: the list contains no images")
    return [path.parent / (match[1] if (match := _LABELLED.fullmatch(name)) else name) for name in names]


_LABELLED = re.compile(r"(.+?)\s+-?\d{1,9}")


class ImageFiles:
    """Images in files, as if they were an array: (n, channels, height, width) uint8, resized and cropped.

    Images are decoded when they are indexed, in several threads. The first that fit into a given memory stay there.

    Args:
        files: the images.
        preparation: their size, crop and channels; its mean and scale are left to the caller.
        resize: whether to resize images; if not, an image of another size than that of the preparation is an error.
        memory: bytes of pixels to keep.
    """

    def __init__(
        self, files: Sequence[ImageFile], preparation: Preparation, resize: bool = True, memory: int = 512 << 20
    ) -> None:
        self.files, self.preparation, self.resize, self.memory = files, preparation, resize, memory
        self._kept: dict[int, Pixels] = {}
        self._most = memory // int(np.prod(preparation.shape))

    def __len__(self) -> int:
        return len(self.files)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, channels, height, width)."""
        return (len(self.files), *self.preparation.shape)

    @overload
    def __getitem__(self, which: slice) -> ImageFiles: ...

    @overload
    def __getitem__(self, which: NDArray[np.integer]) -> Pixels: ...

    def __getitem__(self, which: slice | NDArray[np.integer]) -> ImageFiles | Pixels:
        """Returns the images of a slice, not decoded yet; or the pixels at some indices.

        Raises:
            DataError: a file is missing or no image, or its size is another one and images are not resized.
        """
        if isinstance(which, slice):
            return ImageFiles(self.files[which], self.preparation, self.resize, self.memory)
        indices = [int(index) for index in which]
        missing = [index for index in dict.fromkeys(indices) if index not in self._kept]
        found = dict(zip(missing, self._decoded(missing), strict=True))
        for index in missing[: max(self._most - len(self._kept), 0)]:
            self._kept[index] = found[index]
        pixels = [found[index] if index in found else self._kept[index] for index in indices]
        return np.stack(pixels) if pixels else np.empty((0, *self.preparation.shape), np.uint8)

    def _decoded(self, indices: Sequence[int]) -> list[Pixels]:
        files = [self.files[index] for index in indices]
        if len(files) < 2:
            return list(map(self._pixels, files))
        with ThreadPoolExecutor(min(len(files), os.cpu_count() or 1)) as pool:
            return list(pool.map(self._pixels, files))

    def _pixels(self, file: ImageFile) -> Pixels:
        pixels = decoded(file, self.preparation)
        if not self.resize and pixels.shape[1:] != self.preparation.size:
            found, expected = ("x".join(map(str, each)) for each in (pixels.shape[1:], self.preparation.size))
            raise DataError(f"{_named(file)}: the image has {found} pixels, but the first has {expected}; set size")
        return self.preparation.resize(pixels)


def decoded(file: ImageFile, preparation: Preparation) -> Pixels:
    """Returns the pixels of an image in its own size: (channels, height, width) uint8.

    Raises:
        DataError: the file is missing, no regular file, or no image.
    """
    from demitasse.caffe.list_file import read_regular

    try:
        content = read_regular(file.path)
    except DataError as error:
        raise (error.within(file.place) if file.place else error) from error
    try:
        return preparation.decode(content)
    except DataError as error:
        raise error.within(_named(file)) from error


def _named(file: ImageFile) -> str:
    return f"{file.place}: {visible(str(file.path))}" if file.place else visible(str(file.path))
