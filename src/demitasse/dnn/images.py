"""Images to blobs and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    planes = [_planes(image, _size(size), crop) for image in images]
    if not planes or len({each.shape for each in planes}) > 1:
        raise DataError(f"found images of shapes {[each.shape for each in planes]}; expected some, all of one shape")
    means = np.zeros(max(len(planes[0]), _MOST_CHANNELS), np.float32)
    given = np.atleast_1d(np.asarray(mean, np.float32))
    if given.shape > (_MOST_CHANNELS,):
        raise DataError(f"mean has {given.size} numbers; expected at most {_MOST_CHANNELS}")
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
    images = blob_.transpose(0, 2, 3, 1)
    return tuple(np.ascontiguousarray(each[..., 0] if each.shape[2] == 1 else each) for each in images)


def _size(given: object) -> tuple[int, int]:
    sides = np.asarray(given)
    if sides.shape != (2,) or sides.dtype.kind not in "ui" or (sides < 0).any():
        raise DataError(f"size is {given!r}; expected two whole numbers, width and height")
    return int(sides[0]), int(sides[1])


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
        return _resized(planes, height, width, (planes.shape[1] / height, planes.shape[2] / width))
    factor = max(width / planes.shape[2], height / planes.shape[1])
    sizes = round(planes.shape[1] * factor), round(planes.shape[2] * factor)
    whole = _resized(planes, *sizes, (1 / factor, 1 / factor))
    top, left = (whole.shape[1] - height) // 2, (whole.shape[2] - width) // 2
    return np.ascontiguousarray(whole[:, top : top + height, left : left + width])


def _resized(planes: Image, height: int, width: int, scales: tuple[float, float]) -> Image:
    """Returns planes of another size; ``scales`` are the old pixels for each new one, down and across."""
    if planes.shape[1:] == (height, width):
        return planes
    if planes.shape[1:] == (2 * height, 2 * width):  # OpenCV takes means of squares for exact halves
        squares = planes.reshape(len(planes), height, 2, width, 2)
        if planes.dtype != np.uint8:
            return _of_type(squares.mean((2, 4)), planes.dtype)
        sums: Image = (squares.sum((2, 4), dtype=np.uint16) + 2) >> 2
        return sums.astype(np.uint8)
    above, down = _places(planes.shape[1], height, scales[0])
    before, across = _places(planes.shape[2], width, scales[1])
    below, after = np.minimum(above + 1, planes.shape[1] - 1), np.minimum(before + 1, planes.shape[2] - 1)
    if planes.dtype != np.uint8:
        values = planes.astype(np.float32)
        rows = values[:, above] * (1 - down)[:, None] + values[:, below] * down[:, None]
        return _of_type(rows[:, :, before] * (1 - across) + rows[:, :, after] * across, planes.dtype)
    left, right = _fixed(1 - across), _fixed(across)
    first, second = (
        planes[:, rows][:, :, before].astype(np.int32) * left + planes[:, rows][:, :, after].astype(np.int32) * right
        for rows in (above, below)
    )
    # the order of OpenCV's shifts, which round where they cut
    upper = (_fixed(1 - down)[:, None] * (first >> 4)) >> 16
    lower = (_fixed(down)[:, None] * (second >> 4)) >> 16
    return ((upper + lower + 2) >> 2).astype(np.uint8)


def _of_type(values: Image, kind: np.dtype[Any]) -> Image:
    found: Image = (np.rint(values) if kind.kind in "ui" else values).astype(kind)
    return found


def _fixed(weights: NDArray[np.float32]) -> NDArray[np.int32]:
    found: NDArray[np.int32] = np.rint(weights * np.float32(2048)).astype(np.int32)
    return found


def _places(size: int, new: int, scale: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Returns the first of the two entries that each new one lies between, and the weight of the second."""
    at = (np.arange(new) + 0.5) * scale - 0.5
    first = np.floor(at).astype(np.int64)
    weight = (at - first).astype(np.float32)
    weight[(first < 0) | (first >= size - 1)] = 0
    return first.clip(0, size - 1), weight
