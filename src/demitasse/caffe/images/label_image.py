"""Label images: images of one channel whose pixels are classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from demitasse.errors import DataError

Labels = NDArray[np.integer[Any]]


def decode_labels(data: bytes) -> Labels:
    """Decodes a label image.

    If the file has a palette, the numbers of the colours are the classes; OpenCV would take the brightness of the
    colours. Other images of several channels become grey, as with OpenCV.

    Args:
        data: the content of the file.

    Returns:
        The class of each pixel, (height, width).

    Raises:
        DataError: the data is not an image, or has more than 8 bits per channel.
    """
    from demitasse.caffe.images.codec import opened

    with opened(data) as image:
        if image.mode.startswith(("I", "F")):
            raise DataError(f"the label image has mode {image.mode}; expected 8 bits per channel")
        return np.array(image if image.mode in ("P", "L") else image.convert("L"))


def resize_nearest(labels: Labels, height: int, width: int) -> Labels:
    """Resizes a label image without mixing classes: by the pixel above and to the left, as OpenCV's INTER_NEAREST."""
    if labels.shape == (height, width):
        return labels
    rows, columns = (np.arange(new) * size // new for size, new in zip(labels.shape, (height, width), strict=True))
    resized: Labels = labels[rows[:, None], columns]
    return resized
