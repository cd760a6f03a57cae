"""Where boxes are after ``resize_param``, and where they were before it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from demitasse.caffe import schema
from demitasse.errors import DataError, NetError

Boxes = NDArray[np.floating[Any]]
Size = tuple[int, int]

WARP = schema.ResizeParameter.WARP
FIT_SMALL = schema.ResizeParameter.FIT_SMALL_SIZE
FIT_LARGE = schema.ResizeParameter.FIT_LARGE_SIZE_AND_PAD


def check_resize(param: schema.ResizeParameter) -> None:
    """Checks that a ResizeParameter has a size.

    Raises:
        NetError: it has none.
    """
    if not (param.height and param.width):
        raise NetError(f"resize_param has height {param.height} and width {param.width}; expected both above 0")


def new_size(param: schema.ResizeParameter, size: Size) -> Size:
    """Returns the height and width of an image of a height and width, in pixels."""
    height, width = param.height, param.width
    if param.resize_mode != FIT_SMALL:
        return height, width
    aspect = np.float32(size[1]) / np.float32(size[0])
    if aspect < np.float32(width) / np.float32(height):
        return max(int(np.float32(width) / aspect), 1), width
    return height, max(int(aspect * np.float32(height)), 1)


def margins(param: schema.ResizeParameter, size: Size) -> tuple[float, float]:
    """Returns the margins above and on the left of an image that is fitted into a size, in fractions of that size."""
    if param.resize_mode != FIT_LARGE:
        return 0.0, 0.0
    aspect, wanted = size[1] / size[0], param.width / param.height
    if aspect > wanted:
        return (1 - wanted / aspect) / 2, 0.0
    return 0.0, (1 - aspect / wanted) / 2


def resized_boxes(boxes: Boxes, size: Size, param: schema.ResizeParameter) -> Boxes:
    """Returns boxes after their image is resized, in fractions of the new image.

    Args:
        boxes: (n, 4), corners in fractions of the image; parts outside of it are cut off.
        size: height and width of the image in pixels.
        param: how it is resized.
    """
    top, left = margins(param, size)
    start, scale = np.array([left, top] * 2), np.array([1 - 2 * left, 1 - 2 * top] * 2)
    found: Boxes = start + boxes.clip(0, 1) * scale
    return found.astype(boxes.dtype)


def extrapolated(boxes: Boxes, size: Size, param: schema.ResizeParameter, window: Boxes) -> Boxes:
    """Returns boxes in units of ``width_scale`` and ``height_scale``, which FIT_SMALL_SIZE may have.

    Args:
        boxes: (n, 4), corners in fractions of a window of the resized image.
        size: height and width of the image before it was resized, in pixels.
        param: how it was resized.
        window: xmin, ymin, xmax, ymax, in fractions of the resized image.

    Raises:
        DataError: the window is smaller than the units.
    """
    if param.resize_mode != FIT_SMALL or not (param.height_scale and param.width_scale):
        return boxes
    aspect = size[1] / size[0]
    wide = aspect >= param.width / param.height
    whole = (aspect * param.height, param.height) if wide else (param.width, param.width / aspect)
    factor = np.array(whole) * (window[2:] - window[:2]) / (param.width_scale, param.height_scale)
    if factor.min() < 1:
        raise DataError(
            f"the image is smaller than height_scale {param.height_scale} and width_scale {param.width_scale}"
        )
    return (boxes * np.tile(factor, 2)).astype(boxes.dtype)


def in_image(boxes: Boxes, size: Size, param: schema.ResizeParameter | None) -> Boxes:
    """Returns the corners of boxes in pixels of the image before it was resized.

    Args:
        boxes: (n, 4), corners in fractions of the resized image.
        size: height and width of the image before, in pixels.
        param: how it was resized; None for not at all.
    """
    pixels = np.array([size[1], size[0]] * 2)
    if param is not None and param.resize_mode == FIT_SMALL and param.height_scale and param.width_scale:
        scaled: Boxes = (boxes * np.array([param.width_scale, param.height_scale] * 2)).clip(0, pixels)
        return scaled
    if param is not None:
        top, left = margins(param, size)
        boxes = (boxes - np.array([left, top] * 2)) / np.array([1 - 2 * left, 1 - 2 * top] * 2)
    found: Boxes = boxes.clip(0, 1) * pixels
    return found
