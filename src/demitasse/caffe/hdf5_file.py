"""HDF5 files of blobs: a group ``data``, in it a group a layer, in it a dataset a blob."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from demitasse.errors import FileFormatError
from demitasse.files import write_bytes

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_MOST_BLOBS = 1000  # of a layer
_MOST_DEFLATED = 1032  # bytes that deflate makes of one, at best

Array = np.ndarray[Any, np.dtype[Any]]


@contextmanager
def open_hdf5(path: str | Path, what: str) -> Iterator[h5py.File]:
    """Opens an HDF5 file to read.

    Args:
        path: the file.
        what: it should be, for errors.

    Raises:
        FileFormatError: in the whole of the ``with`` block, where the file is damaged or of another kind.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError, LookupError, OverflowError) as error:
        raise FileFormatError(f"{path}: not {what} in HDF5: {error}") from None


def read_hdf5(path: str | Path) -> list[tuple[str, list[Array]]]:
    """Reads a caffemodel; a blob that stands under its owner alone is an array without entries.

    Returns:
        Name and blobs of each layer.

    Raises:
        FileFormatError: damaged or of another kind; says which blob.
    """
    with open_hdf5(path, "a caffemodel") as file:
        if "data" not in file:
            raise FileFormatError(f"{path}: an HDF5 file without the group 'data': not a caffemodel")
        return [(name, _blobs(group, f"{path}: layer {name!r}")) for name, group in file["data"].items()]


def _blobs(group: h5py.Group, place: str) -> list[Array]:
    count = max(map(int, group), default=-1) + 1
    if count > _MOST_BLOBS:
        raise FileFormatError(f"{place} has blob {count - 1}; expected {_MOST_BLOBS} blobs at most")
    return [
        dataset_array(group[str(index)], f"{place}: blob {index}") if str(index) in group else np.empty(0, np.float32)
        for index in range(count)
    ]


def dataset_array(dataset: h5py.Dataset, place: str) -> Array:
    """Returns the values of a dataset, float64 if they are wider than float32, else float32.

    Raises:
        FileFormatError: they are no numbers, or the file does not hold as many as the dataset declares.
    """
    if dataset.dtype.kind not in "fiu":
        raise FileFormatError(f"{place} has values of type {dataset.dtype}; expected numbers")
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > stored * _MOST_DEFLATED:
        raise FileFormatError(f"{place} declares {dataset.nbytes} bytes, of which the file holds {stored}")
    wide = dataset.dtype.kind == "f" and dataset.dtype.itemsize > 4
    return np.asarray(dataset[()], np.float64 if wide else np.float32)


def write_hdf5(layers: Mapping[str, Mapping[int, Array]], path: str | Path) -> None:
    """Writes a caffemodel in HDF5, atomically.

    Args:
        layers: name -> blobs by index; a shared blob stands under its owner alone.
        path: the file.
    """
    buffer = io.BytesIO()  # HDF5 itself crashes when the disk is full
    with h5py.File(buffer, "w") as file:
        data = file.create_group("data")
        for name, arrays in layers.items():
            group = data.create_group(name)
            for index, array in arrays.items():
                group.create_dataset(str(index), data=array)
    write_bytes(path, buffer.getbuffer())
