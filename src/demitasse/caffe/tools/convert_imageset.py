"""Converts a list of image files to a database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from demitasse.caffe.images.image_list import ImageListEntry, read_image_list
from demitasse.caffe.sources.store import Record, write_database
from demitasse.caffe.tools.image_datums import ImageOptions, image_datums


def convert_imageset(
    root: str | Path,
    image_list: str | Path,
    database: str | Path,
    options: ImageOptions | None = None,
    shuffle: bool = False,
    seed: int = 0,
    backend: str = "lmdb",
) -> int:
    """Writes a database with one Datum per image, under the keys ``%08d_<file name>``.

    As in Caffe, a file that is not an image is skipped with a warning in the log.

    Args:
        root: the folder that the names in the list are relative to.
        image_list: a text file with one ``<file name> <label>`` per line; names may contain spaces.
        database: the folder of the new database.
        options: how images are stored.
        shuffle: whether to store the images in random order.
        seed: the seed of the random order.
        backend: ``lmdb`` or ``leveldb``.

    Returns:
        The number of records.

    Raises:
        DataError: the list is missing, has a malformed line, or none of its images can be read; with
            ``check_size``, an image has another size than the first.
        UnknownNameError: there is no such backend.
        UsageError: the database exists already, plyvel is missing for LevelDB, or options exclude each other.
    """
    entries = read_image_list(image_list)
    if shuffle:
        entries = [entries[index] for index in np.random.default_rng(seed).permutation(len(entries))]
    records = _records(os.path.join(root, ""), entries, options or ImageOptions())
    return write_database(database, records, backend)


def _records(root: str, entries: list[ImageListEntry], options: ImageOptions) -> Iterator[Record]:
    for image in image_datums(root, [entry.name for entry in entries], options):
        entry = entries[image.number]
        image.datum.label = entry.label
        yield image_key(image.number, entry.name), image.datum.SerializeToString()


def image_key(index: int, name: str) -> bytes:
    """Returns the key of an image in a database."""
    return f"{index:08d}_{name}".encode("utf-8", "surrogateescape")
