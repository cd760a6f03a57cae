"""Mean files: the mean image, which is subtracted from all images, stored as one blob."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demitasse.caffe import schema
from demitasse.caffe.models.blobs import Array, read_blob
from demitasse.errors import FileFormatError
from demitasse.files import write_bytes


def read_mean(path: str | Path) -> Array:
    """Reads a mean file (a binary BlobProto); returns float32 of shape (channels, height, width).

    Raises:
        FileFormatError: the file is missing, cut short, or not a single image.
    """
    mean = read_blob(path)
    if mean.ndim == 4 and mean.shape[0] == 1:
        mean = mean[0]
    if mean.ndim != 3:
        raise FileFormatError(f"{path}: the mean has shape {list(mean.shape)}; expected one image with three axes")
    return mean


def write_mean(path: str | Path, mean: Array) -> None:
    """Writes a mean of shape (channels, height, width) with the four legacy axes that Caffe expects."""
    channels, height, width = mean.shape
    blob = schema.BlobProto(num=1, channels=channels, height=height, width=width)
    blob.data = np.ascontiguousarray(mean, "<f4").tobytes()
    write_bytes(path, blob.SerializeToString())
