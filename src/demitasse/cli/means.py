"""Means of images in files: .npy, or Caffe's .binaryproto."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import DataError


def read_mean_file(path: Path) -> Array:
    """Returns the mean in a file, (channels, height, width) or (channels,).

    Raises:
        DataError, FileFormatError: the file cannot be read, or is no mean.
    """
    if path.suffix == ".npy":
        mean = load_array(path)
    else:
        from demitasse.caffe.images.mean import read_mean

        mean = read_mean(path)
    if mean.ndim not in (1, 3) or not mean.size:
        raise DataError(f"{path}: found an array of shape {mean.shape}; expected a mean (channels, height, width)")
    if mean.dtype.kind not in "fiub" or not np.isfinite(mean).all():
        raise DataError(f"{path}: the mean contains a value that is not a finite number")
    return mean


def load_array(path: Path) -> Array:
    """Returns the array of a .npy file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        array: Array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: not a readable .npy array: {error}") from error
    return array
