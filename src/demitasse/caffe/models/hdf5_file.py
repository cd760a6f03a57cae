"""HDF5 files of blobs: the group ``data`` contains a group for each layer, with a dataset for each blob."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from demitasse.caffe.models.blobs import Array
from demitasse.errors import FileFormatError, WeightsError
from demitasse.extras import needs
from demitasse.files import system_path, write_bytes

with needs("h5py"):
    import h5py

_MOST_BLOBS = 1000  # per layer
_MOST_DEFLATED = 1032  # the highest compression ratio of deflate
_MOST_LINKS = 16  # in a chain of links
_INDEX = re.compile("0|[1-9][0-9]{0,17}")

_EMPTY: Array = np.empty(0, np.float32)
# the exceptions that h5py may raise for damaged files
_BROKEN = (OSError, ValueError, TypeError, AttributeError, RuntimeError, LookupError, OverflowError)


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Converts the exceptions of h5py to FileFormatError; only for calls of h5py.

    Raises:
        FileFormatError: the file is damaged; the message begins with ``place``.
    """
    try:
        yield
    except _BROKEN as error:
        raise FileFormatError(f"{place}: {error}") from error


@contextmanager
def open_hdf5(source: str | Path | bytes, what: str) -> Iterator[h5py.File]:
    """Opens an HDF5 file for reading.

    Args:
        source: the path of the file, or its bytes.
        what: the expected kind of file, for error messages.

    Raises:
        FileFormatError: the file is damaged or of another format.
    """
    # h5py cannot lock a file in memory
    given = (io.BytesIO(source), {}) if isinstance(source, bytes) else (system_path(source), {"locking": False})
    with ExitStack() as stack:
        with reading(f"{_place(source)}: not {what}"):
            file = stack.enter_context(h5py.File(given[0], "r", **given[1]))
        yield file


def _place(source: str | Path | bytes) -> str:
    return "data" if isinstance(source, bytes) else str(source)


def read_hdf5(source: str | Path | bytes) -> list[tuple[str, list[Array]]]:
    """Reads a caffemodel; a shared blob, which is stored only with its owner, is an empty array.

    Returns:
        Name and blobs of each layer; a layer ``a/b`` is a group in the group ``a``.

    Raises:
        FileFormatError: the file is damaged or of another format, or values are in another file; the message has the
            blob.
    """
    place = _place(source)
    with open_hdf5(source, "a caffemodel in HDF5") as file:
        data = find_object(file, "data", place)
        if not isinstance(data, h5py.Group):
            raise FileFormatError(f"{place}: not a caffemodel in HDF5: there is no group 'data'")
        with reading(place):
            names = list(data)
        return [layer for name in names for layer in _layers(data, name, name, place, set())]


def _layers(parent: h5py.Group, key: str, name: str, path: str, seen: set[int]) -> Iterator[tuple[str, list[Array]]]:
    """Yields the layer of a group, and the layers whose names begin with its name and a slash."""
    place = f"{path}: layer {name!r}"
    group = find_object(parent, key, place)
    if not isinstance(group, h5py.Group):
        raise FileFormatError(f"{place} is {_kind(group)}; expected a group of blobs")
    with reading(place):
        address, names = h5py.h5o.get_info(group.id).addr, list(group)
    if address in seen:
        raise FileFormatError(f"{place}: the same group also has another name; expected one name per group")
    seen.add(address)
    found = {each: find_object(group, each, place) for each in names}
    inner = [each for each, value in found.items() if isinstance(value, h5py.Group)]
    datasets = {each: value for each, value in found.items() if each not in inner}
    if datasets or not inner:
        yield name, _blobs(datasets, place)
    for each in inner:
        yield from _layers(group, each, f"{name}/{each}", path, seen)


def _kind(node: object) -> str:
    if node is None:
        return "a broken link"
    return "a dataset" if isinstance(node, h5py.Dataset) else "a named datatype"


def _blobs(datasets: Mapping[str, h5py.Dataset], place: str) -> list[Array]:
    for name, dataset in datasets.items():
        if not _INDEX.fullmatch(name):
            raise FileFormatError(f"{place} has a blob named {name!r}; expected numbers from 0")
        if not isinstance(dataset, h5py.Dataset):
            raise FileFormatError(f"{place}: blob {name} is {_kind(dataset)}; expected a dataset")
    count = max(map(int, datasets), default=-1) + 1
    if count > _MOST_BLOBS:
        raise FileFormatError(f"{place} has blob {count - 1}; expected at most {_MOST_BLOBS} blobs")
    return [
        dataset_array(datasets[str(index)], f"{place}: blob {index}") if str(index) in datasets else _EMPTY
        for index in range(count)
    ]


def find_object(group: h5py.Group, name: str, place: str) -> h5py.Group | h5py.Dataset | None:
    """Returns the group or dataset with a name, which may be a path; None if there is none.

    A stranger's file may refer to any file of this machine: by a link, as the external storage of a dataset, or as
    part of a virtual dataset. Such files are never opened.

    Raises:
        FileFormatError: the values are in another file, or links form a cycle.
    """
    node = _followed(group, name, place, _MOST_LINKS)
    if isinstance(node, h5py.Dataset):
        with reading(place):
            external, is_virtual = node.external, node.is_virtual
        if external:
            raise FileFormatError(f"{place}: the values of {name!r} are in another file, {external[0][0]!r}")
        if is_virtual:
            raise FileFormatError(f"{place}: {name!r} is a virtual dataset, made of other datasets")
    return node


def _followed(group: h5py.Group, name: str, place: str, links: int) -> h5py.Group | h5py.Dataset | None:
    if not isinstance(name, str):  # h5py returns bytes for a name that is not UTF-8
        raise FileFormatError(f"{place}: the name {name!r} is not UTF-8")
    node = group.file["/"] if name.startswith("/") else group
    for part in name.split("/"):
        if part in ("", "."):
            continue
        with reading(place):
            link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            raise FileFormatError(f"{place}: {name!r} is a link to another file, {link.filename!r}")
        if not isinstance(link, h5py.SoftLink):
            with reading(place):
                node = node[part]
        elif links:
            node = _followed(node, link.path, place, links - 1)
        else:
            raise FileFormatError(f"{place}: {name!r}: the links form a cycle")
    return node


def dataset_array(dataset: h5py.Dataset, place: str) -> Array:
    """Returns the values of a dataset, as float64 if they are wider floats than float32, else as float32.

    Raises:
        FileFormatError: the values are not numbers, or the file contains fewer than the dataset declares.
    """
    with reading(place):
        shape, dtype, size, chunks = dataset.shape, dataset.dtype, dataset.nbytes, dataset.chunks
        stored = dataset.id.get_storage_size()
    if shape is None:
        raise FileFormatError(f"{place}: the dataset has no values (its dataspace is null)")
    if dtype.kind not in "fiu":
        raise FileFormatError(f"{place} has values of type {dtype}; expected numbers")
    if size > stored * (_MOST_DEFLATED if chunks else 1):
        raise FileFormatError(f"{place} declares {size} bytes, but the file contains only {stored}")
    with reading(place):
        values = dataset[()]
    wide = dtype.kind == "f" and dtype.itemsize > 4
    return np.asarray(values, np.float64 if wide else np.float32)


def check_name(name: str) -> None:
    """Checks that HDF5 can store a layer under its name: in HDF5 a slash begins a group, and a dot is the same group.

    Raises:
        WeightsError: HDF5 cannot have such a name.
    """
    if "\0" in name or any(part in ("", ".") for part in name.split("/")):
        raise WeightsError(f"layer {name!r}: HDF5 cannot store this name; rename the layer, or write binary proto")


def write_hdf5(layers: Mapping[str, Mapping[int, Array]], path: str | Path) -> None:
    """Writes a caffemodel in HDF5, atomically; see :func:`hdf5_bytes`."""
    write_bytes(path, hdf5_bytes(layers))


def hdf5_bytes(layers: Mapping[str, Mapping[int, Array]]) -> bytes:
    """Returns a caffemodel in HDF5.

    Args:
        layers: name -> blobs by index; a shared blob only with its owner.

    Raises:
        WeightsError: HDF5 cannot store the name of a layer, or it conflicts with another name.
    """
    for name in layers:
        check_name(name)
    buffer = io.BytesIO()  # HDF5 itself crashes when the disk is full
    with h5py.File(buffer, "w") as file:
        data = file.create_group("data")
        for name, arrays in layers.items():
            try:
                group = data.require_group(name)
                for index, array in arrays.items():
                    group.create_dataset(str(index), data=array)
            except (TypeError, ValueError) as error:  # such as a layer 'a' with blob 0, and a layer 'a/0'
                raise WeightsError(
                    f"layer {name!r}: its name conflicts with another layer's in HDF5: {error}"
                ) from error
    return buffer.getvalue()
