"""Converts MNIST's files to a database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from demitasse.caffe import schema
from demitasse.caffe.sources.store import Record, write_database
from demitasse.errors import FileFormatError
from demitasse.idx import Array, read_idx
from demitasse.progress import tracked


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
    pixels, classes = read_idx(images, axes=3), read_idx(labels, axes=1)
    if len(pixels) != len(classes):
        raise FileFormatError(f"{images} has {len(pixels)} images, but {labels} has {len(classes)} labels")
    return write_database(database, _records(pixels, classes), backend)


def _records(images: Array, labels: Array) -> Iterator[Record]:
    for index in tracked(range(len(images)), "Converting"):
        image = images[index]
        datum = schema.Datum(
            channels=1,
            height=image.shape[0],
            width=image.shape[1],
            data=image.tobytes(),
            label=int(labels[index]),
        )
        yield f"{index:08d}".encode(), datum.SerializeToString()
