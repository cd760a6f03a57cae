"""The inputs of run: images, which are prepared as the file says, and arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import DataError, UsageError
from demitasse.preparation import Preparation

Shape = tuple[int, ...]

ARRAYS = (".npy", ".npz")
_BATCH = 16  # images
# kind of a type -> kinds of arrays that become such values, and what they are called
_FROM = {"f": "fiub", "c": "cfiub", "i": "iub", "u": "iub", "b": "iub"}
_NUMBERS = {"f": "numbers", "c": "complex numbers", "i": "whole numbers", "u": "whole numbers", "b": "truth values"}


class Wanted(NamedTuple):
    """What an input of a net has to be.

    Attributes:
        shape: in the example; the first axis is that of the batch.
        dtype: name of its type.
    """

    shape: Shape
    dtype: str

    @property
    def of_numpy(self) -> np.dtype[np.generic]:
        """The type of the arrays that are given: numpy has no bfloat16."""
        return np.dtype("float32" if self.dtype == "bfloat16" else self.dtype)


class Batch(NamedTuple):
    """What is computed at once.

    Attributes:
        arrays: name of an input -> (n, ...), of the type of the input.
        files: where they are from.
        images: the files of the images, in order; none if the files are arrays.
    """

    arrays: dict[str, Array]
    files: Sequence[Path]
    images: Sequence[Path] = ()


def batches(paths: Sequence[Path], inputs: Mapping[str, Wanted], preparation: Preparation | None) -> Iterator[Batch]:
    """Yields the batches of some files: several images together, the arrays of a file by themselves.

    Args:
        paths: images, or .npy and .npz files.
        inputs: name -> what an input of the net has to be.
        preparation: how images become inputs; None if nothing says so.

    Raises:
        UsageError: images and arrays are mixed, or the net does not take images.
        DataError: a file cannot be read, or has other arrays than the net needs.
    """
    are_arrays = {path.suffix in ARRAYS for path in paths}
    if len(are_arrays) > 1:
        raise UsageError("found images and arrays; expected images alone, or .npy and .npz files alone")
    if are_arrays == {True}:
        return (Batch(_arrays(path, inputs), [path]) for path in paths)
    return _images(paths, *_image_input(paths[0], inputs, preparation))


def _image_input(path: Path, inputs: Mapping[str, Wanted], preparation: Preparation | None) -> tuple[str, Preparation]:
    """Returns the name of the only input, and how images become such inputs."""
    if len(inputs) != 1:
        raise UsageError(f"{path}: the net has the inputs {', '.join(inputs)}; give a .npz file with an array for each")
    ((name, (shape, _)),) = inputs.items()
    if preparation is None:
        raise UsageError(
            f"{path}: the .demi file does not say how images become inputs; give arrays (.npy, .npz), or pack the net "
            "again with --size, --channels, --mean and --scale (in Python: demitasse.save(..., preparation=...))"
        )
    if preparation.shape != shape[1:]:
        raise DataError(
            f"{path}: images are prepared as {list(preparation.shape)}; input {name!r} of the net has shape "
            f"{['n', *shape[1:]]}"
        )
    return name, preparation


def _images(paths: Sequence[Path], name: str, preparation: Preparation) -> Iterator[Batch]:
    for start in range(0, len(paths), _BATCH):
        part = paths[start : start + _BATCH]
        yield Batch({name: np.stack([preparation(path) for path in part])}, part, part)


def _arrays(path: Path, inputs: Mapping[str, Wanted]) -> dict[str, Array]:
    arrays = _read(path, inputs)
    if path.suffix == ".npy" and len(inputs) != 1:
        raise DataError(f"{path}: the net has the inputs {', '.join(inputs)}; give a .npz file with all of them")
    batch = {}
    for name, wanted in inputs.items():
        if name not in arrays:
            raise DataError(f"{path}: there is no array {name!r}; found {', '.join(arrays) or 'none'}")
        array, kind = arrays[name], wanted.of_numpy.kind
        if (
            array.dtype.kind not in _FROM[kind]
            or array.shape[1:] != wanted.shape[1:]
            or array.ndim != len(wanted.shape)
        ):
            raise DataError(
                f"{path}: {name} has shape {list(array.shape)} of {array.dtype}; "
                f"expected {_NUMBERS[kind]} of shape {['n', *wanted.shape[1:]] if wanted.shape else []}"
            )
        batch[name] = array.astype(wanted.of_numpy)
    return batch


def _read(path: Path, inputs: Iterable[str]) -> dict[str, Array]:
    """Returns the arrays of a file by name; the only one of a .npy file for each input."""
    try:
        with open(path, "rb") as file:
            if not file.read(6).startswith((b"\x93NUMPY", b"PK")):  # numpy would take it for Python objects
                raise DataError(f"{path}: is no {path.suffix} file: it does not begin as one")
            file.seek(0)
            found = np.load(file, allow_pickle=False)
            return dict(found) if isinstance(found, np.lib.npyio.NpzFile) else dict.fromkeys(inputs, found)
    except (OSError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    except ValueError as error:
        reason = "it contains Python objects, which could run code" if "pickle" in str(error) else error
        raise DataError(f"{path}: cannot be read: {reason}") from error
