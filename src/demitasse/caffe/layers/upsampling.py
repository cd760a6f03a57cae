"""Layers of forks that enlarge planes: Upsample, Interp, and the colorization's layer in Python."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.caffe.layers.unpooling import MaskedLayer, put_in_planes
from demitasse.errors import NetError


@LAYERS.register("Upsample")
class Upsample(MaskedLayer):
    """With a mask, the inverse of MAX pooling; without one, each entry ``scale`` by ``scale`` times.

    The mask is the second bottom, the second top of the pooling: each entry goes to that index of its plane, and the
    rest is 0. The plane is ``upsample_h`` by ``upsample_w``, or ``scale`` (2 unless given) times as large as the
    bottom, less one row or column with ``pad_out_h`` or ``pad_out_w``.

    Reference: Badrinarayanan, Kendall, Cipolla 2017, section 3 (mask); Redmon and Farhadi 2018, section 2.3 (scale).
    """

    @override
    def setup(self, *shapes: Shape) -> None:
        self.check_planes(shapes)
        settings = self.spec.upsample_param
        self.scale, self.plane = 1, (0, 0)
        if self.has_mask:
            self.plane = _unpooled(settings, shapes[0])
            return
        self.scale = settings.scale if settings.HasField("scale") else 1
        if not self.scale:
            raise NetError("scale is 0; expected a positive number")

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        n, channels, height, width = shapes[0]
        plane = self.plane if self.has_mask else (height * self.scale, width * self.scale)
        return [(n, channels, *plane)]

    @override
    def forward(self, bottom: Tensor, *mask: Tensor) -> Tensor:
        if not mask:
            n, channels, height, width = bottom.shape
            spread = bottom[:, :, :, None, :, None].expand(-1, -1, -1, self.scale, -1, self.scale)
            return spread.reshape(n, channels, height * self.scale, width * self.scale)
        return put_in_planes(bottom, mask[0], self.plane, f"layer {self.spec.name!r}")


def _unpooled(settings: schema.UpsampleParameter, shape: Shape) -> tuple[int, int]:
    """Returns the size of the plane before the pooling."""
    if settings.HasField("upsample_h") and settings.HasField("upsample_w"):
        plane = settings.upsample_h, settings.upsample_w
    elif settings.HasField("scale_h") != settings.HasField("scale_w"):
        raise NetError("found only one of scale_h and scale_w; give both, or scale, or upsample_h and upsample_w")
    else:
        one = settings.scale if settings.HasField("scale") else 2
        scales = (settings.scale_h, settings.scale_w) if settings.HasField("scale_h") else (one, one)
        pads = settings.pad_out_h, settings.pad_out_w
        if any(pad and scale != 2 for pad, scale in zip(pads, scales, strict=True)):
            raise NetError(f"found pad_out_h or pad_out_w with scale {list(scales)}; expected them only with scale 2")
        plane = shape[2] * scales[0] - pads[0], shape[3] * scales[1] - pads[1]
    if min(plane) < 2:
        raise NetError(f"the plane of the top is {list(plane)}; expected at least 2 by 2")
    return plane


@LAYERS.register("Interp")
class Interp(Layer):
    """The planes resized with bilinear interpolation, in which corners stay corners.

    The size is that of the second bottom, or follows from one of: ``zoom_factor`` z, h + (h - 1) (z - 1);
    ``shrink_factor`` s, (h - 1) // s + 1; ``height`` and ``width``; ``shrink_factor`` and then ``zoom_factor``.
    Negative ``pad_beg`` and ``pad_end`` crop the bottom first.

    Reference: Zhao, Shi, Qi, Wang, Jia 2017, section 3.2.
    """

    bottom_count = (1, 2)

    def __init__(self, spec: schema.LayerParameter) -> None:
        super().__init__(spec)
        self.without_gradient = (1,) if len(spec.bottom) == 2 else ()

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.interp_param
        if any(len(shape) != 4 for shape in shapes):
            raise NetError(f"Interp needs four axes, found bottoms of shapes {[list(shape) for shape in shapes]}")
        self.crop = -settings.pad_beg, -settings.pad_end
        if min(self.crop) < 0:
            raise NetError(f"pad_beg is {settings.pad_beg} and pad_end {settings.pad_end}; expected 0 or less: a crop")
        if settings.interp_type != "bilinear":
            raise NetError(f"interp_type is {settings.interp_type!r}; expected 'bilinear'")
        sizes = [size - sum(self.crop) for size in shapes[0][2:]]
        self.plane = tuple(shapes[1][2:]) if len(shapes) == 2 else tuple(_resized(settings, i, sizes) for i in (0, 1))
        if min(*sizes, *self.plane) <= 0:
            raise NetError(f"a plane of {sizes} becomes {list(self.plane)}; expected positive sizes")

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return [(*shapes[0][:2], *self.plane)]

    @override
    def forward(self, bottom: Tensor, *reference: Tensor) -> Tensor:
        start, end = self.crop
        height, width = bottom.shape[2:]
        cropped = bottom[:, :, start : height - end, start : width - end] if any(self.crop) else bottom
        return F.interpolate(cropped, self.plane, mode="bilinear", align_corners=True)


class SpatialRepetition(Layer):
    """The colorization's layer in Python, ``SpatialRepLayer``: one value for each channel, at all positions.

    Bottoms: (n, channels, 1, 1), and (n, ..., h, w), which has the size of the top, (n, channels, h, w).

    Reference: Zhang, Zhu, Isola, Geng, Lin, Yu, Efros 2017, section 3.2.
    """

    bottom_count = (2, 2)
    without_gradient = (1,)

    @override
    def setup(self, *shapes: Shape) -> None:
        values, like = shapes
        if len(values) != 4 or len(like) != 4 or values[2:] != (1, 1):
            raise NetError(
                f"found bottoms of shapes {list(values)} and {list(like)}; expected (n, channels, 1, 1) and "
                "(n, channels, h, w)"
            )
        self.plane = like[2:]

    @override
    def forward(self, values: Tensor, like: Tensor) -> Tensor:
        return values.expand(-1, -1, *self.plane)


def _resized(settings: schema.InterpParameter, axis: int, sizes: list[int]) -> int:
    """Returns the size of the top along the height (axis 0) or the width (axis 1)."""
    zooms, shrinks = settings.HasField("zoom_factor"), settings.HasField("shrink_factor")
    if (zooms and settings.zoom_factor < 1) or (shrinks and settings.shrink_factor < 1):
        raise NetError(
            f"zoom_factor is {settings.zoom_factor} and shrink_factor {settings.shrink_factor}; "
            "expected positive numbers"
        )
    size = sizes[axis]
    if zooms != shrinks or (zooms and not settings.height):
        size = (size - 1) // settings.shrink_factor + 1 if shrinks else size
        return size + (size - 1) * (settings.zoom_factor - 1) if zooms else size
    if not (settings.height and settings.width):
        raise NetError("the size is missing; expected zoom_factor, shrink_factor, height and width, or a second bottom")
    return (settings.height, settings.width)[axis]
