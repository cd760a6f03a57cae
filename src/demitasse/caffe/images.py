"""Images as Caffe sees them: uint8, channel first, blue before green before red."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from demitasse.errors import DataError, UsageError

Array = np.ndarray[Any, np.dtype[np.uint8]]

# the modes of 8-bit images that are decoded without a wish for colour; all others become RGB
_NATIVE = {"1": "L", "L": "L", "LA": "RGBA", "RGBA": "RGBA"}
_DEEP = ("I", "F")


def decode(data: bytes, color: bool | None = None) -> Array:
    """Decodes a JPEG, PNG or other image file.

    Args:
        data: the content of the file.
        color: True for BGR, False for grey, None for the channels of the file.

    Returns:
        (channels, height, width), 1 channel for grey, 3 for BGR, 4 for BGR and opacity.

    Raises:
        DataError: not an image, cut short, or with more than 8 bits a channel.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            if image.mode.startswith(_DEEP):
                raise DataError(f"the image has more than 8 bits a channel (mode {image.mode})")
            mode = _NATIVE.get(image.mode, "RGB") if color is None else ("RGB" if color else "L")
            pixels = np.asarray(image.convert(mode))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"not an image that can be read: {error}") from None
    return from_rgb(pixels)


def from_rgb(pixels: Array) -> Array:
    """Turns (height, width) or (height, width, RGB or RGBA) into (channels, height, width), blue first."""
    if pixels.ndim == 2:
        return pixels[None]
    order = [2, 1, 0, 3][: pixels.shape[2]]
    return np.ascontiguousarray(pixels[:, :, order].transpose(2, 0, 1))


def resize(image: Array, height: int, width: int) -> Array:
    """Resizes by bilinear interpolation between pixel centres, without a filter, as OpenCV does."""
    pixels = torch.from_numpy(image.astype(np.float32))[None]
    resized = interpolate(pixels, (height, width), mode="bilinear", align_corners=False)
    return resized[0].round().to(torch.uint8).numpy()


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
