"""The last layers of OpenPose: maps resized and averaged over scales, and their peaks."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.caffe.sizes import check_size
from demitasse.errors import NetError

_RADIUS = 3  # of the window whose centre of mass is the place of a peak
_NEIGHBOURS = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)]


@LAYERS.register("ImResize")
class ImResize(Layer):
    """The mean of the items of a batch, (1, channels, height, width), resized with cubic interpolation.

    The items are one image at different scales: item i is a map whose middle, 1 - ``start_scale`` + i ``scale_gap``
    narrower than the map, has the values. The top is ``factor`` times as large as the bottom, or
    ``target_spatial_height`` by ``target_spatial_width``. Positions are those of the middle of entries, and entries
    beyond the edge are those at the edge.

    Reference: Keys 1981, equation 15; Caffe's fork OpenPose, whose code for the CPU interpolates with OpenCV instead.
    """

    @override
    def setup(self, *shapes: Shape) -> None:
        settings, shape = self.spec.imresize_param, shapes[0]
        if len(shape) != 4 or not shape[0]:
            raise NetError(f"found a bottom of shape {list(shape)}; expected (scales, channels, h, w)")
        numbers = (settings.factor, settings.start_scale, settings.scale_gap)
        if not all(map(math.isfinite, numbers)):
            raise NetError(f"factor, start_scale and scale_gap are {list(numbers)}; expected finite numbers")
        fixed = settings.target_spatial_height, settings.target_spatial_width
        self.plane = tuple(int(size * settings.factor) for size in shape[2:]) if settings.factor else fixed
        # what is cut from each side of the height and the width of each item
        lost = [1 - settings.start_scale + item * settings.scale_gap for item in range(shape[0])]
        self.margins = [tuple(math.floor(size // 2 * each) for size in shape[2:]) for each in lost]
        left = [size - 2 * cut for cuts in self.margins for size, cut in zip(shape[2:], cuts, strict=True)]
        if min(*self.plane, *left) < 1 or min(map(min, self.margins)) < 0:
            raise NetError(
                f"maps of {list(shape[2:])} lose {[list(cuts) for cuts in self.margins]} on each side and become "
                f"{list(self.plane)}; expected positive sizes"
            )
        check_size((*shape[:2], *self.plane), "the resized maps")

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return [(1, shapes[0][1], *self.plane)]

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        found = []
        for item, (rows, columns) in zip(bottom, self.margins, strict=True):
            part = item[:, rows : item.shape[1] - rows, columns : item.shape[2] - columns]
            down, across = (
                interpolation(size, part.shape[axis], part) for axis, size in enumerate(self.plane, start=1)
            )
            found.append(down @ part @ across.T)
        return torch.stack(found).mean(0, keepdim=True)


def interpolation(size: int, length: int, like: Tensor) -> Tensor:
    """Returns the matrix of cubic interpolation, (size, length), which resizes an axis; see :class:`ImResize`."""
    numbers = torch.arange(size, dtype=torch.float64, device=like.device)
    places = (numbers + 0.5) * (length / size) - 0.5
    # by 1e-5 more, so that a place that is a whole number, but for rounding, is that number
    middle = (places + 1e-5).long().clamp(min=0)
    x = places - middle
    weights = (
        ((-0.5 * x + 1) * x - 0.5) * x,
        (1.5 * x - 2.5) * x * x + 1,
        ((-1.5 * x + 2) * x + 0.5) * x,
        (0.5 * x - 0.5) * x * x,
    )
    matrix = places.new_zeros(size, length)
    for offset, weight in enumerate(weights, start=-1):
        matrix = matrix.scatter_add(1, (middle + offset).clamp(0, length - 1)[:, None], weight[:, None])
    return matrix.to(like.dtype)


@LAYERS.register("Nms")
class PeakFinder(Layer):
    """The peaks of the first ``num_parts`` channels, (n, num_parts, max_peaks + 1, 3).

    A peak is above ``threshold`` and above its eight neighbours; the outermost two rows and columns at the top and on
    the left, and the outermost ones at the bottom and on the right, have none. The first row is the number of peaks in
    the map, 0, 0. Each of the next ``max_peaks`` rows is x, y, value of a peak, in the order of rows, or zeros; x and y
    are the centre of mass of the positive entries at most 3 rows and columns away, without row and column 0.

    Reference: Cao, Simon, Wei, Sheikh 2017 (OpenPose), section 2.2; Caffe's fork OpenPose.
    """

    without_gradient = (0,)

    @override
    def setup(self, *shapes: Shape) -> None:
        settings: schema.NmsParameter = self.spec.nms_param
        self.parts, self.most, self.threshold = settings.num_parts, settings.max_peaks, settings.threshold
        if len(shapes[0]) != 4 or not 0 < self.parts <= shapes[0][1] or not self.most:
            raise NetError(
                f"found a bottom of shape {list(shapes[0])}, num_parts {self.parts} and max_peaks {self.most}; "
                "expected (n, channels, h, w) with at least num_parts channels, and positive numbers"
            )

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return [(shapes[0][0], self.parts, self.most + 1, 3)]

    @torch.no_grad()
    @override
    def forward(self, bottom: Tensor) -> Tensor:
        maps = bottom[:, : self.parts]
        peaks = self._peaks(maps).flatten(2)
        values = torch.stack([*_centres(maps), maps], -1).flatten(2, 3)
        counts = peaks.long().cumsum(2)
        # rows from 1 on; what is no peak, or one too many, goes to a last row that is cut off
        rows = torch.where(peaks & (counts <= self.most), counts, self.most + 1)
        found = maps.new_zeros(*maps.shape[:2], self.most + 2, 3)
        found = found.scatter(2, rows[..., None].expand(-1, -1, -1, 3), values)[:, :, : self.most + 1]
        first = F.pad(counts[..., -1:, None].to(maps.dtype), (0, 2))
        return torch.cat([first, found[:, :, 1:]], 2)

    def _peaks(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[2:]
        if min(height, width) < 4:
            return torch.zeros_like(maps, dtype=torch.bool)
        inner = maps[:, :, 2:-1, 2:-1]
        found = inner > self.threshold
        for row, column in _NEIGHBOURS:
            found &= inner > maps[:, :, 2 + row : height - 1 + row, 2 + column : width - 1 + column]
        return F.pad(found, (2, 1, 2, 1))


def _centres(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Returns x and y of the centre of mass around each entry; 0 where there is none."""
    rows, columns = (torch.arange(size, device=maps.device, dtype=maps.dtype) for size in maps.shape[2:])
    mass = maps.clamp(min=0) * ((rows[:, None] > 0) & (columns > 0))
    size = 2 * _RADIUS + 1
    total, x, y = (
        F.avg_pool2d(each, size, 1, _RADIUS, divisor_override=1)
        for each in (mass, mass * columns, mass * rows[:, None])
    )
    safe = torch.where(total > 0, total, 1)
    return x / safe, y / safe
