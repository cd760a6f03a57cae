"""A list of image files -> a database."""

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
        gray: in grey instead of blue, green and red.
        resize_height: 0 for as it is, else in pixels; with ``resize_width``.
        resize_width: likewise.
        check_size: all images must be of one size.
        encoded: as image files instead of pixels; files that need no change are stored as they are.
        encode_type: the format of encoded images, such as ``png``, which implies ``encoded``; empty for that of the
            file.
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
                f"resize_height {self.resize_height} and resize_width {self.resize_width}: give both or none"
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
    """Writes a database with one Datum an image under the keys ``%08d_<file name>``.

    As in Caffe a file that is no image is left out, with a warning in the log.

    Args:
        root: the folder that the names in the list are relative to.
        image_list: text, ``<file name> <label>`` a line; names may have spaces.
        database: the folder to be made.
        options: how images are stored.
        shuffle: whether the order is random, drawn with ``seed``.
        seed: of the order.
        backend: ``lmdb`` or ``leveldb``.

    Returns:
        The number of records.

    Raises:
        DataError: the list is missing, has a line of another form, or names no image that can be read;
            with ``check_size``, an image has another size than the first.
        UnknownNameError: no such backend.
        UsageError: the database exists, plyvel is missing for LevelDB, or options exclude each other.
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
            raise DataError(f"{path}: the image has shape {list(image.shape)}, the first one {list(first)}")
        datum = _datum(image, content, path, options)
        datum.label = entry.label
        yield f"{index:08d}_{entry.name}".encode("utf-8", "surrogateescape"), datum.SerializeToString()
    if not first:
        raise DataError(f"none of the {len(entries)} files of the list is an image that can be read in {root!r}")


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
