"""Converts MNIST's files to a database, of digits or of pairs of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demitasse.caffe import schema
from demitasse.caffe.sources.store import Record, write_database
from demitasse.errors import FileFormatError
from demitasse.idx import Array, read_idx
from demitasse.progress import tracked

Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]


def convert_mnist_data(images: str | Path, labels: str | Path, database: str | Path, backend: str = "lmdb") -> int:
    """Writes a database with one grey Datum per digit, under the keys ``%08d``.

    Args:
        images: IDX file of bytes (n, height, width), plain or gzip.
        labels: IDX file of bytes (n,).
        database: the folder of the new database.
        backend: ``lmdb`` or ``leveldb``.

    Returns:
        The number of records.

    Raises:
        FileFormatError: a file is missing, of another format or cut short, or the numbers of entries differ.
        UnknownNameError: there is no such backend.
        UsageError: the database exists already, or plyvel is missing for LevelDB.
    """
    pixels, classes = _read(images, labels)
    return write_database(database, _records(pixels[:, None], classes), backend)


def convert_mnist_siamese_data(
    images: str | Path, labels: str | Path, database: str | Path, backend: str = "lmdb", seed: int = 0
) -> int:
    """Writes a database for siamese nets: random pairs of digits, one in each channel, as many as there are digits.

    The label is 1 for the same digit, 0 for different ones; the keys are ``%08d``.

    Args:
        images: IDX file of bytes (n, height, width), plain or gzip.
        labels: IDX file of bytes (n,).
        database: the folder of the new database.
        backend: ``lmdb`` or ``leveldb``.
        seed: the seed of the draw.

    Returns:
        The number of records.

    Raises:
        FileFormatError: as for :func:`convert_mnist_data`.
        UnknownNameError: there is no such backend.
        UsageError: the database exists already, or plyvel is missing for LevelDB.
    """
    pixels, classes = _read(images, labels)
    pairs = np.random.default_rng(seed).integers(len(pixels), size=(len(pixels), 2))
    same = classes[pairs[:, 0]] == classes[pairs[:, 1]]
    return write_database(database, _records(pixels, same, pairs), backend)


def _read(images: str | Path, labels: str | Path) -> tuple[Array, Array]:
    pixels, classes = read_idx(images, axes=3), read_idx(labels, axes=1)
    if len(pixels) != len(classes):
        raise FileFormatError(f"{images} has {len(pixels)} images, but {labels} has {len(classes)} labels")
    return pixels, classes


def _records(images: Array, labels: Array | Flags, indices: Indices | None = None) -> Iterator[Record]:
    """Yields a record for each label: image number i, or the images (channels, height, width) of row i of indices."""
    for number in tracked(range(len(labels)), "Converting"):
        image = images[number if indices is None else indices[number]]
        channels, height, width = image.shape
        datum = schema.Datum(
            channels=channels, height=height, width=width, data=image.tobytes(), label=int(labels[number])
        )
        yield f"{number:08d}".encode(), datum.SerializeToString()
