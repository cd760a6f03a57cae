"""Converts a list of image files to a database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demitasse.caffe import schema
from demitasse.caffe.images.codec import Array, decode, encode, resize
from demitasse.caffe.images.image_list import ImageListEntry, read_image_list
from demitasse.caffe.list_file import read_regular, shown
from demitasse.caffe.log import info, warning
from demitasse.caffe.sources.store import Record, write_database
from demitasse.errors import DataError, UsageError
from demitasse.progress import tracked


@dataclass(frozen=True)
class ImageOptions:
    """How images are stored.

    Attributes:
        gray: store grey images instead of blue, green and red.
        resize_height: new height in pixels; 0 keeps it. Goes together with ``resize_width``.
        resize_width: new width in pixels; 0 keeps it.
        check_size: require that all images have the same size.
        encoded: store image files instead of pixels; files that need no change are stored unchanged.
        encode_type: format of encoded images, such as ``png``; implies ``encoded``; empty for the format of each file.
    """

    gray: bool = False
    resize_height: int = 0
    resize_width: int = 0
    check_size: bool = False
    encoded: bool = False
    encode_type: str = ""

    def __post_init__(self) -> None:
        if min(self.resize_height, self.resize_width) < 0 or (self.resize_height > 0) != (self.resize_width > 0):
            raise UsageError(
                f"resize_height is {self.resize_height} and resize_width {self.resize_width}; give both or neither"
            )


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
    options = options or ImageOptions()
    entries = read_image_list(image_list)
    if options.encode_type and not options.encoded:
        info("convert_imageset.cpp:101", "encode_type specified, assuming encoded=true.")
    if shuffle:
        entries = [entries[index] for index in np.random.default_rng(seed).permutation(len(entries))]
    records = _records(os.path.join(root, ""), entries, options)
    return write_database(database, records, backend)


def _records(root: str, entries: list[ImageListEntry], options: ImageOptions) -> Iterator[Record]:
    first: tuple[int, ...] = ()
    for index, entry in enumerate(tracked(entries, "Converting")):
        path = root + entry.name
        try:
            content = read_regular(path)
            image = decode(content, color=not options.gray)
        except DataError as error:
            warning("io.cpp:80", f"Could not open or find file {shown(path)}: {error}")
            continue
        if options.resize_height:
            image = resize(image, options.resize_height, options.resize_width)
        first = first or image.shape
        if options.check_size and image.shape != first:
            raise DataError(
                f"{path}: the image has shape {list(image.shape)}; expected {list(first)} of the first image"
            )
        datum = _datum(image, content, path, options)
        datum.label = entry.label
        yield f"{index:08d}_{entry.name}".encode("utf-8", "surrogateescape"), datum.SerializeToString()
    if not first:
        raise DataError(f"{root}: none of the {len(entries)} files in the list is a readable image in this folder")


def _datum(image: Array, content: bytes, path: str, options: ImageOptions) -> schema.Datum:
    if not (options.encoded or options.encode_type):
        channels, height, width = image.shape
        return schema.Datum(channels=channels, height=height, width=width, data=image.tobytes(), encoded=False)
    own = _format(Path(path).suffix)
    wanted = _format(options.encode_type) or own
    unchanged = wanted == own and not options.resize_height
    return schema.Datum(data=content if unchanged else encode(image, wanted), encoded=True)


def _format(extension: str) -> str:
    name = extension.removeprefix(".").lower()
    return "jpg" if name == "jpeg" else name
