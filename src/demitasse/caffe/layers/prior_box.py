"""PriorBox: SSD's default boxes."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.caffe.sizes import check_size
from demitasse.errors import NetError

_SAME = 1e-6  # two aspect ratios closer than this are one
_VARIANCE = 0.1

Size = tuple[float, float]


@LAYERS.register("PriorBox")
class PriorBox(Layer):
    """Boxes around each position of the first bottom, in units of the image, which is the second bottom.

    The top is (1, 2, h w k 4): xmin, ymin, xmax, ymax of the k boxes of each position, then their variances. For each
    ``min_size`` s, in pixels, there is a square of s, then with ``max_size`` t one of sqrt(s t), then a box of
    s sqrt(a) by s / sqrt(a) for each ``aspect_ratio`` a and, with ``flip``, for 1 / a. As in SSD's code, sizes are cut
    to whole pixels. OpenCV's ``width`` and ``height`` give the sizes of the boxes instead, and its ``offset_h`` and
    ``offset_w`` several centres for each of them.

    Reference: Liu et al. 2016 (SSD), section 2.2.
    """

    bottom_count = (2, 2)
    priors: Tensor

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.prior_box_param
        if any(len(shape) != 4 for shape in shapes):
            raise NetError(f"PriorBox needs four axes, found bottoms of shapes {[list(shape) for shape in shapes]}")
        sizes = _sizes(settings)
        image = _pair(settings, "img_size", "img_h", "img_w") or shapes[1][2:]
        plane = shapes[0][2:]
        step = _pair(settings, "step", "step_h", "step_w") or tuple(
            np.float32(whole) / np.float32(max(part, 1)) for whole, part in zip(image, plane, strict=True)
        )
        offsets = _offsets(settings)
        count = plane[0] * plane[1] * len(sizes) * len(offsets)
        variances = _variances(settings)
        if not min(image):
            raise NetError(f"the image is {list(image)}; expected a positive size")
        self.top_shape = (1, 2, count * 4)
        check_size(self.top_shape, "the top")
        boxes = _boxes(plane, (float(image[0]), float(image[1])), (float(step[0]), float(step[1])), sizes, offsets)
        if settings.clip:
            boxes = boxes.clip(0, 1)
        rows = np.stack([boxes.reshape(-1), np.tile(np.array(variances, np.float32), count)])
        self.register_buffer("priors", torch.from_numpy(rows[None]), persistent=False)

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return [self.top_shape]

    @override
    def forward(self, bottom: Tensor, image: Tensor) -> Tensor:
        return self.priors.detach().clone()


def _pair(settings: schema.PriorBoxParameter, one: str, height: str, width: str) -> Size | None:
    """Returns height and width, given by one field or by two; None if neither is given."""
    has_pair = settings.HasField(height) or settings.HasField(width)
    if settings.HasField(one) and has_pair:
        raise NetError(f"found {one} and {height} or {width}; give one number or two")
    if not (settings.HasField(one) or has_pair):
        return None
    fields = (height, width) if has_pair else (one, one)
    found = getattr(settings, fields[0]), getattr(settings, fields[1])
    if not min(found) > 0:
        raise NetError(f"{fields[0]} and {fields[1]} are {list(found)}; expected positive numbers")
    return found


def _sizes(settings: schema.PriorBoxParameter) -> list[Size]:
    """Returns width and height of the boxes at each position, in pixels and in order."""
    if settings.width or settings.height:
        if len(settings.width) != len(settings.height) or settings.min_size:
            raise NetError("found width or height; expected both, of the same number, and no min_size")
        return list(zip(settings.width, settings.height, strict=True))
    if not all(map(math.isfinite, (*settings.min_size, *settings.max_size))):
        raise NetError("found a min_size or max_size that is not finite; expected numbers of pixels")
    least, most = [int(size) for size in settings.min_size], [int(size) for size in settings.max_size]
    if not least or min(least) <= 0:
        raise NetError(f"min_size is {list(settings.min_size)}; expected sizes of at least a pixel")
    if most and (len(most) != len(least) or any(b <= a for a, b in zip(least, most, strict=True))):
        raise NetError(f"max_size is {most}; expected one for each min_size of {least}, and larger than it")
    sizes: list[Size] = []
    for index, size in enumerate(least):
        sizes.append((size, size))
        if most:
            side = float(np.sqrt(np.float32(size * most[index])))
            sizes.append((side, side))
        for ratio in _ratios(settings):
            sizes.append((float(np.float32(size * np.sqrt(ratio))), float(np.float32(size / np.sqrt(ratio)))))
    return sizes


def _ratios(settings: schema.PriorBoxParameter) -> list[float]:
    """Returns the aspect ratios other than 1, without repeats."""
    found = [1.0]
    for ratio in settings.aspect_ratio:
        if not 0 < ratio < float("inf"):
            raise NetError(f"aspect_ratio is {ratio}; expected a positive number")
        if all(abs(ratio - other) >= _SAME for other in found):
            found += [ratio, 1 / ratio] if settings.flip else [ratio]
    return [ratio for ratio in found if abs(ratio - 1) >= _SAME]


def _offsets(settings: schema.PriorBoxParameter) -> list[Size]:
    """Returns the vertical and horizontal offsets of the centres in a cell."""
    if not (settings.offset_h or settings.offset_w):
        return [(settings.offset, settings.offset)]
    if len(settings.offset_h) != len(settings.offset_w):
        raise NetError(f"found {len(settings.offset_h)} offset_h and {len(settings.offset_w)} offset_w; expected pairs")
    return list(zip(settings.offset_h, settings.offset_w, strict=True))


def _variances(settings: schema.PriorBoxParameter) -> list[float]:
    given = list(settings.variance) or [_VARIANCE]
    if len(given) not in (1, 4) or not min(given) > 0:
        raise NetError(f"variance is {given}; expected one or four positive numbers")
    return given if len(given) == 4 else given * 4


def _boxes(plane: Shape, image: Size, step: Size, sizes: list[Size], offsets: list[Size]) -> NDArray[np.float32]:
    """Returns the corners, (h, w, sizes, offsets, 4)."""
    rows, columns = (np.arange(size, dtype=np.float32) for size in plane)
    down, right = np.array(offsets, np.float32).T
    # centres are float32 and corners double, as in SSD's code
    y = ((rows[:, None] + down) * np.float32(step[0])).astype(np.float64)[:, None, None, :]
    x = ((columns[:, None] + right) * np.float32(step[1])).astype(np.float64)[None, :, None, :]
    width, height = np.array(sizes, np.float64).T[:, None, None, :, None] / 2
    boxes = np.empty((*plane, len(sizes), len(offsets), 4), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        boxes[..., 0], boxes[..., 2] = (x - width) / image[1], (x + width) / image[1]
        boxes[..., 1], boxes[..., 3] = (y - height) / image[0], (y + height) / image[0]
    return boxes
