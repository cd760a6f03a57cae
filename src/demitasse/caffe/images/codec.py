"""Decodes and encodes images in Caffe's layout: uint8, channels first, in the order blue, green, red."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from demitasse.caffe.images import jpeg
from demitasse.caffe.images.pixels import pixels
from demitasse.errors import DataError, UsageError
from demitasse.extras import needs

with needs("PIL"):
    from PIL import Image, UnidentifiedImageError

Array = NDArray[np.uint8]

# Pillow's other formats have readers that start programs, or are unusual
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# modes of 8-bit images that are kept if no colour is requested; all others become RGB
_NATIVE = {"1": "L", "L": "L", "LA": "RGBA", "RGBA": "RGBA"}
_DEEP = ("I", "F")
_GREY_16 = ("PNG", "PPM")  # formats in which mode I is 16-bit grey
_BROKEN = (
    *(OSError, ValueError, SyntaxError, TypeError, EOFError, IndexError, KeyError, AttributeError, OverflowError),
    *(MemoryError, struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning),
)


def decode(data: bytes, color: bool | None = None) -> Array:
    """Decodes a JPEG, PNG or other image file.

    Args:
        data: the content of the file.
        color: True for BGR, False for grey, None for the channels of the file.

    Returns:
        (channels, height, width), 1 channel for grey, 3 for BGR, 4 for BGR and opacity; a view of the decoded image,
        whose memory has another order.

    Raises:
        DataError: the data is not an image, cut short, too large, or has more than 16 bits per channel.
    """
    found = jpeg.decode(data, color)
    if found is not None:
        return found.transpose(2, 0, 1)
    image = _loaded(data, color)
    return _high_bytes(image, bool(color)) if image.mode.startswith(_DEEP) else blue_first(pixels(image))


def _loaded(data: bytes, color: bool | None) -> Image.Image:
    """Returns an image of mode L, RGB or RGBA; an image with more than 8 bits per channel keeps its own mode."""
    with opened(data) as image:
        is_deep = image.mode.startswith(_DEEP)
        mode = _NATIVE.get(image.mode, "RGB") if color is None else ("RGB" if color else "L")
        if not is_deep:
            image.draft(mode, image.size)  # for grey, a JPEG then returns its stored luminance
        image.load()
        return image if is_deep or image.mode == mode else image.convert(mode)


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """Opens an image file, whose pixels are not read yet.

    Raises:
        DataError: the data is not an image, or cut short where the pixels are read.
    """
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            yield image
    except _BROKEN as error:
        # Pillow names the object that it reads from, which says nothing
        reason = "its format is not known" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"not a readable image: {reason}") from error


def _high_bytes(image: Image.Image, color: bool) -> Array:
    """Returns the high bytes of 16-bit grey, as OpenCV does; Pillow has no colour images of more than 8 bits."""
    if not image.mode.startswith("I;16") and image.format not in _GREY_16:
        raise DataError(f"the image has mode {image.mode}; expected at most 16 bits per channel")
    high = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
    return np.broadcast_to(high, (3 if color else 1, *high.shape))


def blue_first(rgb: Array) -> Array:
    """Returns a view (channels, height, width), blue first, of an image (height, width) or (height, width, RGB[A])."""
    if rgb.ndim == 2:
        return rgb[None]
    if rgb.shape[2] == 3:
        return rgb[:, :, ::-1].transpose(2, 0, 1)
    return rgb[:, :, [2, 1, 0, 3]].transpose(2, 0, 1)


def resize(image: Array, height: int, width: int) -> Array:
    """Resizes by bilinear interpolation between pixel centres, without a filter; within one grey level of OpenCV."""
    if image.shape[1:] == (height, width):
        return image
    from demitasse.caffe.images.resizing import Resized, copy_window  # with numba, which decoding does not need

    out = np.empty((len(image), height, width), np.uint8)
    copy_window(Resized(image, height, width), (slice(None), slice(None), slice(None)), False, out)
    return out


def encode(image: Array, extension: str, quality: int = 95) -> bytes:
    """Encodes a grey or BGR image; JPEG with a quality, by default that of OpenCV.

    Raises:
        UsageError: no image format has this extension.
    """
    kind = Image.registered_extensions().get(f".{extension.lower()}")
    if kind not in Image.SAVE:
        raise UsageError(f"unknown image format {extension!r}; expected jpg or png")
    pixels = image[0] if len(image) == 1 else image[::-1].transpose(1, 2, 0)
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, kind, quality=quality)
    return stream.getvalue()
