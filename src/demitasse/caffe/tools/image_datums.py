"""Turns image files into Datum messages, for the tools that make databases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from demitasse.caffe import schema
from demitasse.caffe.images.codec import Array, decode, encode, resize
from demitasse.caffe.list_file import read_regular, shown
from demitasse.caffe.log import info, warning
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
        min_dim: enlarge images whose shorter side is below this, with their aspect; 0 for none.
        max_dim: reduce images whose longer side is above this, with their aspect; 0 for none.
    """

    gray: bool = False
    resize_height: int = 0
    resize_width: int = 0
    check_size: bool = False
    encoded: bool = False
    encode_type: str = ""
    min_dim: int = 0
    max_dim: int = 0

    def __post_init__(self) -> None:
        if min(self.resize_height, self.resize_width) < 0 or (self.resize_height > 0) != (self.resize_width > 0):
            raise UsageError(
                f"resize_height is {self.resize_height} and resize_width {self.resize_width}; give both or neither"
            )
        if min(self.min_dim, self.max_dim) < 0:
            raise UsageError(f"min_dim is {self.min_dim} and max_dim {self.max_dim}; expected 0 or more")

    def new_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the height and width that an image is stored with; as in SSD's tool, the limits of sides win."""
        if not (self.min_dim or self.max_dim):
            return self.resize_height or height, self.resize_width or width
        shorter, longer = sorted((height, width))
        scale = max(self.min_dim / shorter, 1.0)
        if self.max_dim and int(scale * longer) > self.max_dim:
            scale = self.max_dim / longer
        return max(round(height * scale), 1), max(round(width * scale), 1)


class StoredImage(NamedTuple):
    """An image as it is stored.

    Attributes:
        number: its position in the list, from 0.
        datum: the message, without a label.
        height: of the file, in pixels.
        width: of the file, in pixels.
    """

    number: int
    datum: schema.Datum
    height: int
    width: int


def image_datums(root: str, names: Sequence[str], options: ImageOptions) -> Iterator[StoredImage]:
    """Yields the images of files; as in Caffe, a file that is not an image is skipped with a warning in the log.

    Args:
        root: what is put before each name.
        names: the names of the files.
        options: how images are stored.

    Raises:
        DataError: none of the files can be read; with ``check_size``, an image has another size than the first.
    """
    if options.encode_type and not options.encoded:
        info("convert_imageset.cpp:101", "encode_type specified, assuming encoded=true.")
    first: tuple[int, ...] = ()
    for index, name in enumerate(tracked(names, "Converting")):
        path = root + name
        try:
            content = read_regular(path)
            image = decode(content, color=not options.gray)
        except DataError as error:
            warning("io.cpp:80", f"Could not open or find file {shown(path)}: {error}")
            continue
        height, width = image.shape[1:]
        image = resize(image, *options.new_size(height, width))
        first = first or image.shape
        if options.check_size and image.shape != first:
            raise DataError(
                f"{path}: the image has shape {list(image.shape)}; expected {list(first)} of the first image"
            )
        unchanged = image.shape[1:] == (height, width) and not options.resize_height
        yield StoredImage(index, _datum(image, content if unchanged else None, path, options), height, width)
    if not first:
        raise DataError(f"{root}: none of the {len(names)} files in the list is a readable image in this folder")


def _datum(image: Array, content: bytes | None, path: str, options: ImageOptions) -> schema.Datum:
    """Returns the message of an image; ``content`` is its file if it is unchanged."""
    if not (options.encoded or options.encode_type):
        channels, height, width = image.shape
        return schema.Datum(channels=channels, height=height, width=width, data=image.tobytes(), encoded=False)
    own = _format(Path(path).suffix)
    wanted = _format(options.encode_type) or own
    data = content if content is not None and wanted == own else encode(image, wanted)
    return schema.Datum(data=data, encoded=True)


def _format(extension: str) -> str:
    name = extension.removeprefix(".").lower()
    return "jpg" if name == "jpeg" else name
