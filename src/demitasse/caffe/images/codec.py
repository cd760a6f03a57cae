"""Images as Caffe sees them: uint8, channel first, blue before green before red."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from demitasse.caffe.images import jpeg
from demitasse.caffe.images.pixels import pixels
from demitasse.caffe.images.resizing import Resized, copy_window
from demitasse.errors import DataError, UsageError
from demitasse.extras import needs

with needs("PIL"):
    from PIL import Image

Array = NDArray[np.uint8]

# other formats of Pillow's have readers that start programs, or that nobody expects
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# the modes of 8-bit images that are decoded without a wish for colour; all others become RGB
_NATIVE = {"1": "L", "L": "L", "LA": "RGBA", "RGBA": "RGBA"}
_DEEP = ("I", "F")
_GREY_16 = ("PNG", "PPM")  # formats whose mode I is 16-bit grey
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
        (channels, height, width), 1 channel for grey, 3 for BGR, 4 for BGR and opacity; in memory as it was
        decoded, not in this order.

    Raises:
        DataError: not an image, cut short, too large, or with more than 16 bits a channel.
    """
    found = jpeg.decode(data, color)
    if found is not None:
        return found.transpose(2, 0, 1)
    image = _loaded(data, color)
    return _high_bytes(image, bool(color)) if image.mode.startswith(_DEEP) else blue_first(pixels(image))


def _loaded(data: bytes, color: bool | None) -> Image.Image:
    """Returns an image of mode L, RGB or RGBA; of more than 8 bits a channel, of its own."""
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            is_deep = image.mode.startswith(_DEEP)
            mode = _NATIVE.get(image.mode, "RGB") if color is None else ("RGB" if color else "L")
            if not is_deep:
                image.draft(mode, image.size)  # a JPEG gives its luminance as it stands in the file
            image.load()
            return image if is_deep or image.mode == mode else image.convert(mode)
    except _BROKEN as error:
        raise DataError(f"not an image that can be read: {error}") from error


def _high_bytes(image: Image.Image, color: bool) -> Array:
    """Returns the higher bytes of 16-bit grey, as OpenCV does; of colours Pillow gives no others."""
    if not image.mode.startswith("I;16") and image.format not in _GREY_16:
        raise DataError(f"the image has more than 16 bits a channel (mode {image.mode})")
    high = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
    return np.broadcast_to(high, (3 if color else 1, *high.shape))


def blue_first(rgb: Array) -> Array:
    """Returns (height, width) or (height, width, RGB or RGBA) as (channels, height, width), blue first: a view."""
    if rgb.ndim == 2:
        return rgb[None]
    if rgb.shape[2] == 3:
        return rgb[:, :, ::-1].transpose(2, 0, 1)
    return rgb[:, :, [2, 1, 0, 3]].transpose(2, 0, 1)


def resize(image: Array, height: int, width: int) -> Array:
    """Resizes by bilinear interpolation between pixel centres, without a filter, within a level of OpenCV."""
    if image.shape[1:] == (height, width):
        return image
    out = np.empty((len(image), height, width), np.uint8)
    copy_window(Resized(image, height, width), (slice(None), slice(None), slice(None)), False, out)
    return out


def encode(image: Array, extension: str) -> bytes:
    """Encodes a grey or BGR image, JPEG with OpenCV's quality of 95.

    Raises:
        UsageError: no image format has this extension.
    """
    kind = Image.registered_extensions().get(f".{extension.lower()}")
    if kind not in Image.SAVE:
        raise UsageError(f"unknown image format {extension!r}; give jpg or png")
    pixels = image[0] if len(image) == 1 else image[::-1].transpose(1, 2, 0)
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, kind, quality=95)
    return stream.getvalue()
