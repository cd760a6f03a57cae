"""ROIPooling and PSROIPooling: pooling over regions of interest."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.caffe.layers.numeric import indices
from demitasse.errors import DataError, NetError

_REGION = 5  # item, xmin, ymin, xmax, ymax
_SMALLEST_SIDE = 0.1  # of a region of PSROIPooling


def _check(shapes: tuple[Shape, ...]) -> None:
    features, regions = shapes
    if len(features) != 4 or len(regions) not in (2, 4) or regions[1:] != (_REGION, 1, 1)[: len(regions) - 1]:
        raise NetError(
            f"found bottoms of shapes {list(features)} and {list(regions)}; expected (n, channels, h, w) and "
            "(regions, 5): item, xmin, ymin, xmax, ymax"
        )


def _items(layer: Layer, regions: Tensor, count: int) -> Tensor:
    """Returns the item of each region, after checking that all numbers are finite."""
    if not (regions.is_meta or torch.compiler.is_compiling()) and not bool(regions.isfinite().all()):
        raise DataError(f"layer {layer.spec.name!r}: a region has a number that is not finite")
    return indices(regions[:, 0], count, f"layer {layer.spec.name!r}: the item of a region")


def _rounded(values: Tensor) -> Tensor:
    """Returns the nearest whole numbers; halves are rounded away from zero, as in C."""
    return values.sign() * (values.abs() + 0.5).floor()


@LAYERS.register("ROIPooling")
class ROIPooling(Layer):
    """The maximum of each part of each region, (regions, channels, pooled_h, pooled_w).

    Regions are in pixels of the image, ``spatial_scale`` times which are positions of the features, rounded. Parts may
    overlap by an entry; one outside of the plane is 0.

    Reference: Girshick 2015 (Fast R-CNN), section 2.1.
    """

    bottom_count = (2, 2)
    without_gradient = (1,)

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.roi_pooling_param
        self.pooled = settings.pooled_h, settings.pooled_w
        self.scale = settings.spatial_scale
        if not min(self.pooled):
            raise NetError(f"pooled_h and pooled_w are {list(self.pooled)}; expected positive numbers")
        _check(shapes)

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return [(shapes[1][0], shapes[0][1], *self.pooled)]

    @override
    def forward(self, features: Tensor, regions: Tensor) -> Tensor:
        regions = regions.detach().flatten(1)
        items = _items(self, regions, features.shape[0]).tolist()
        corners = _rounded(regions[:, 1:] * self.scale).long()
        rows = _ranges(corners[:, 1], corners[:, 3], self.pooled[0], features.shape[2])
        columns = _ranges(corners[:, 0], corners[:, 2], self.pooled[1], features.shape[3])
        found = [
            _maxima(features[item], *spans) for item, spans in zip(items, zip(rows, columns, strict=True), strict=True)
        ]
        return torch.stack(found) if found else features.new_zeros(0, features.shape[1], *self.pooled)


Spans = list[tuple[int, int]]


def _ranges(start: Tensor, end: Tensor, parts: int, size: int) -> list[Spans]:
    """Returns, for each region, the first entry of each of its parts along an axis and the one after the last."""
    length = (end - start + 1).clamp(min=1).to(torch.float32)
    part = (length / parts)[:, None]
    numbers = torch.arange(parts, dtype=torch.float32, device=start.device)
    first = (numbers * part).floor().long() + start[:, None]
    last = ((numbers + 1) * part).ceil().long() + start[:, None]
    spans = torch.stack([first.clamp(0, size), last.clamp(0, size)], -1)
    return [[(a, b) for a, b in row] for row in spans.tolist()]


def _maxima(features: Tensor, rows: Spans, columns: Spans) -> Tensor:
    """Returns the maximum of (channels, h, w) over every pair of spans, (channels, rows, columns).

    Of equal entries, the gradient goes to the first in the order of rows.
    """
    top = min(start for start, _ in rows)
    band = features[:, top : max(end for _, end in rows)]
    zeros = features.new_zeros(features.shape[0])
    by_row = [band[:, :, start:end].max(2).values if end > start else None for start, end in columns]
    found = [
        torch.stack(
            [
                zeros if each is None or end <= start else each[:, start - top : end - top].max(1).values
                for each in by_row
            ],
            -1,
        )
        for start, end in rows
    ]
    return torch.stack(found, 1)


@LAYERS.register("PSROIPooling")
class PSROIPooling(Layer):
    """The mean of each of g by g parts of each region, (regions, output_dim, g, g), for ``group_size`` g.

    Part (i, j) of output c is pooled from a channel of its own, (c g + i) g + j. Regions are in pixels of the image,
    ``spatial_scale`` times which are positions of the features; a part outside of the plane is 0.

    Reference: Dai, Li, He, Sun 2016 (R-FCN), equation 1.
    """

    bottom_count = (2, 2)
    without_gradient = (1,)

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.psroi_pooling_param
        self.outputs, self.group, self.scale = settings.output_dim, settings.group_size, settings.spatial_scale
        _check(shapes)
        if self.outputs <= 0 or self.group <= 0 or shapes[0][1] != self.outputs * self.group**2:
            raise NetError(
                f"found {shapes[0][1]} channels, output_dim {self.outputs} and group_size {self.group}; expected "
                "positive numbers, and output_dim * group_size^2 channels"
            )

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return [(shapes[1][0], self.outputs, self.group, self.group)]

    @override
    def forward(self, features: Tensor, regions: Tensor) -> Tensor:
        regions = regions.detach().flatten(1)
        item = _items(self, regions, features.shape[0])[:, None, None, None]
        start = _rounded(regions[:, 1:3]) * self.scale
        end = (_rounded(regions[:, 3:]) + 1) * self.scale
        numbers = torch.arange(self.group, device=features.device)
        left, right = _parts(start[:, 0], end[:, 0], numbers, features.shape[3])
        top, bottom = _parts(start[:, 1], end[:, 1], numbers, features.shape[2])
        # sums over rectangles, from sums over all entries above and to the left
        sums = torch.nn.functional.pad(features.double().cumsum(2).cumsum(3), (1, 0, 1, 0))
        outputs = torch.arange(self.outputs, device=features.device)[:, None, None]
        channel = (outputs * self.group + numbers[:, None]) * self.group + numbers
        y0, y1, x0, x1 = top[:, None, :, None], bottom[:, None, :, None], left[:, None, None], right[:, None, None]
        total = sums[item, channel, y1, x1] - sums[item, channel, y0, x1]
        total = total - sums[item, channel, y1, x0] + sums[item, channel, y0, x0]
        area = ((y1 - y0) * (x1 - x0)).clamp(min=0)
        return torch.where(area > 0, total / area.clamp(min=1), 0).to(features.dtype)


def _parts(start: Tensor, end: Tensor, numbers: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Returns the first entry of each part of regions along an axis and the one after the last, (regions, parts)."""
    part = ((end - start).clamp(min=_SMALLEST_SIDE) / len(numbers))[:, None]
    first = (numbers * part + start[:, None]).floor().clamp(0, size)
    last = ((numbers + 1) * part + start[:, None]).ceil().clamp(0, size)
    return first.long(), last.long()
