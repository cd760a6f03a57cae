"""The inputs of run: images, which are prepared as the file says, and arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import DataError, UsageError
from demitasse.preparation import Preparation

Shape = tuple[int, ...]

ARRAYS = (".npy", ".npz")
_BATCH = 16  # images


class Batch(NamedTuple):
    """What is computed at once.

    Attributes:
        arrays: name of an input -> (n, ...), of the type of the input.
        images: the files of the images, in order; none if the files are arrays.
    """

    arrays: dict[str, Array]
    images: Sequence[Path] = ()


def batches(
    paths: Sequence[Path], inputs: Mapping[str, Shape], preparation: Preparation | None, types: Mapping[str, str]
) -> Iterator[Batch]:
    """Yields the batches of some files: several images together, the arrays of a file by themselves.

    Args:
        paths: images, or .npy and .npz files.
        inputs: name -> shape of the inputs of the net; the first axis is that of the batch.
        preparation: how images become inputs; None if nothing says so.
        types: name -> type of inputs that are not float32.

    Raises:
        UsageError: images and arrays are mixed, or the net does not take images.
        DataError: a file cannot be read, or has other arrays than the net needs.
    """
    are_arrays = {path.suffix in ARRAYS for path in paths}
    if len(are_arrays) > 1:
        raise UsageError("found images and arrays; expected images alone, or .npy and .npz files alone")
    if are_arrays == {True}:
        return (Batch(_arrays(path, inputs, types)) for path in paths)
    return _images(paths, *_image_input(paths[0], inputs, preparation))


def _image_input(path: Path, inputs: Mapping[str, Shape], preparation: Preparation | None) -> tuple[str, Preparation]:
    """Returns the name of the only input, and how images become such inputs."""
    if len(inputs) != 1:
        raise UsageError(f"{path}: the net has the inputs {', '.join(inputs)}; give a .npz file with an array for each")
    ((name, shape),) = inputs.items()
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
        yield Batch({name: np.stack([preparation(path) for path in part])}, part)


def _arrays(path: Path, inputs: Mapping[str, Shape], types: Mapping[str, str]) -> dict[str, Array]:
    try:
        with open(path, "rb") as file:
            found = np.load(file, allow_pickle=False)
            arrays = dict(found) if path.suffix == ".npz" else dict.fromkeys(inputs, found)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if path.suffix == ".npy" and len(inputs) != 1:
        raise DataError(f"{path}: the net has the inputs {', '.join(inputs)}; give a .npz file with all of them")
    batch = {}
    for name, shape in inputs.items():
        if name not in arrays:
            raise DataError(f"{path}: there is no array {name!r}; found {', '.join(arrays) or 'none'}")
        array, wanted = arrays[name], np.dtype(types.get(name, "float32"))
        kinds = "fiub" if wanted.kind == "f" else "iub"
        if array.dtype.kind not in kinds or array.shape[1:] != shape[1:] or not array.ndim:
            raise DataError(
                f"{path}: {name} has shape {list(array.shape)} of {array.dtype}; "
                f"expected {'numbers' if wanted.kind == 'f' else 'whole numbers'} of shape {['n', *shape[1:]]}"
            )
        batch[name] = array.astype(wanted)
    return batch
