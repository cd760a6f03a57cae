"""Images to blobs and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demitasse.caffe.images.resizing import Resized, copy_window
from demitasse.errors import DataError

Image = NDArray[Any]

_CV_8U, _CV_32F = 0, 5  # OpenCV's numbers of uint8 and float32
_MOST_CHANNELS = 4


def blobFromImage(
    image: Image,
    scalefactor: float = 1.0,
    size: tuple[int, int] = (0, 0),
    mean: Sequence[float] | float = (),
    swapRB: bool = False,
    crop: bool = False,
    ddepth: int = _CV_32F,
) -> Image:
    """Returns an image as a blob, (1, channels, height, width) float32: (image - mean) * scalefactor.

    Args:
        image: (height, width) or (height, width, channels), uint8 or floating point.
        scalefactor: the factor.
        size: width and height of the blob, to which the image is resized with bilinear interpolation; 0 keeps it.
        mean: what is subtracted, in the order of the channels of the blob; a number goes to the first channel.
        swapRB: whether the first and the last channel change places, as BGR and RGB need.
        crop: whether the image keeps its proportions and is cropped around its middle.
        ddepth: CV_32F (5), or CV_8U (0) for a blob of uint8 without mean and factor.

    Raises:
        DataError: this is no image, or the arguments do not fit it.
    """
    return blobFromImages([image], scalefactor, size, mean, swapRB, crop, ddepth)


def blobFromImages(
    images: Sequence[Image],
    scalefactor: float = 1.0,
    size: tuple[int, int] = (0, 0),
    mean: Sequence[float] | float = (),
    swapRB: bool = False,
    crop: bool = False,
    ddepth: int = _CV_32F,
) -> Image:
    """Returns several images as one blob, (n, channels, height, width); see :func:`blobFromImage`.

    Raises:
        DataError: as for one image, or the images have different sizes after resizing.
    """
    planes = [_planes(image, (int(size[0]), int(size[1])), crop) for image in images]
    if not planes or len({each.shape for each in planes}) > 1:
        raise DataError(f"found images of shapes {[each.shape for each in planes]}; expected some, all of one shape")
    means = np.zeros(max(len(planes[0]), _MOST_CHANNELS), np.float32)
    given = np.atleast_1d(np.asarray(mean, np.float32))[:_MOST_CHANNELS]
    means[: len(given)] = given
    if ddepth not in (_CV_8U, _CV_32F) or (ddepth == _CV_8U and (scalefactor != 1 or means.any())):
        raise DataError(f"ddepth is {ddepth}; expected CV_32F (5), or CV_8U (0) with scalefactor 1 and mean 0")
    blob = np.stack(planes)
    if swapRB:
        if blob.shape[1] < 3:
            raise DataError(f"swapRB needs three or four channels, found {blob.shape[1]}")
        blob[:, [0, 2]] = blob[:, [2, 0]]
    if ddepth == _CV_8U:
        return blob.astype(np.uint8)
    return (blob.astype(np.float32) - means[: blob.shape[1], None, None]) * np.float32(scalefactor)


def imagesFromBlob(blob_: Image) -> tuple[Image, ...]:
    """Returns the images of a blob (n, channels, height, width), each (height, width, channels).

    Raises:
        DataError: the blob has another number of axes.
    """
    if blob_.ndim != 4:
        raise DataError(f"found a blob of shape {list(blob_.shape)}; expected (n, channels, height, width)")
    return tuple(np.ascontiguousarray(each.transpose(1, 2, 0).squeeze(2) if each.shape[0] == 1
                                      else each.transpose(1, 2, 0)) for each in blob_)  # fmt: skip


def _planes(image: Image, size: tuple[int, int], crop: bool) -> Image:
    """Returns an image, resized, as (channels, height, width)."""
    found = np.asarray(image)
    if found.ndim not in (2, 3) or not found.size or found.dtype.kind not in "uif":
        raise DataError(f"found an array of shape {list(found.shape)} and type {found.dtype}; expected an image")
    planes = found[None] if found.ndim == 2 else found.transpose(2, 0, 1)
    width, height = size
    if width <= 0 or height <= 0 or planes.shape[1:] == (height, width):
        return np.ascontiguousarray(planes)
    if not crop:
        return _resized(planes, height, width)
    factor = max(width / planes.shape[2], height / planes.shape[1])
    whole = _resized(planes, round(planes.shape[1] * factor), round(planes.shape[2] * factor))
    top, left = (whole.shape[1] - height) // 2, (whole.shape[2] - width) // 2
    return np.ascontiguousarray(whole[:, top : top + height, left : left + width])


def _resized(planes: Image, height: int, width: int) -> Image:
    if planes.dtype == np.uint8 and len(planes) <= _MOST_CHANNELS:
        if planes.shape[1:] == (2 * height, 2 * width):  # OpenCV takes means of squares for exact halves
            squares = planes.reshape(len(planes), height, 2, width, 2).sum((2, 4), dtype=np.uint16)
            return ((squares + 2) >> 2).astype(np.uint8)
        out = np.empty((len(planes), height, width), np.uint8)
        copy_window(Resized(planes, height, width), (slice(None), slice(0, height), slice(0, width)), False, out)
        return out
    values = planes.astype(np.float32)
    y, x = _places(planes.shape[1], height), _places(planes.shape[2], width)
    rows = values[:, y[0]] * (1 - y[1])[:, None] + values[:, y[0] + (planes.shape[1] > 1)] * y[1][:, None]
    found: Image = rows[:, :, x[0]] * (1 - x[1]) + rows[:, :, x[0] + (planes.shape[2] > 1)] * x[1]
    return found if planes.dtype.kind == "f" else found.round().astype(planes.dtype)


def _places(size: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Returns the first of the two entries that each new one lies between, and the weight of the second."""
    at = np.clip((np.arange(new) + 0.5) * (size / new) - 0.5, 0, size - 1)
    first = np.minimum(at.astype(np.int64), max(size - 2, 0))
    return first, (at - first).astype(np.float32)
