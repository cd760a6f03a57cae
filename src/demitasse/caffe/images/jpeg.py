"""JPEG files by simplejpeg, where it is installed: faster than Pillow, and without Python's lock."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from demitasse.extras import needs

with needs("PIL"):
    from PIL import Image

Array = NDArray[np.uint8]

_MAGIC = b"\xff\xd8\xff"
# kinds of JPEG files -> whether they have colour; others, for printing, are left to Pillow
_COLOURS = {"Gray": False, "YCbCr": True}
_INSTALLED = find_spec("simplejpeg") is not None


def decode(data: bytes, color: bool | None = None) -> Array | None:
    """Decodes a sound JPEG file in grey or colours as Pillow does, to the bit.

    Args:
        data: the content of the file.
        color: True for colours, False for grey, None for what the file has.

    Returns:
        (height, width, channels), 1 channel for grey, 3 for blue, green and red; None for everything else, of which
        Pillow has to say what it is or what is wrong.
    """
    if not (_INSTALLED and data.startswith(_MAGIC)):
        return None
    import simplejpeg

    try:
        height, width, kind, _ = simplejpeg.decode_jpeg_header(data)
        if kind not in _COLOURS or height * width > (Image.MAX_IMAGE_PIXELS or 0):
            return None
        # four bytes a pixel take no longer than three, and are read as words
        space = "BGRA" if (_COLOURS[kind] if color is None else color) else "GRAY"
        pixels: Array = simplejpeg.decode_jpeg(data, space)[:, :, :3]
    except ValueError:
        return None
    return pixels
