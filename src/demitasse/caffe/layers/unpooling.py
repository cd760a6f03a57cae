"""Unpooling: the inverse of a pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, CountRange, Layer, Shape, require_shape
from demitasse.caffe.layers.numeric import indices
from demitasse.errors import NetError


class MaskedLayer(Layer):
    """The base of layers on planes, whose second bottom, if there is one, is the mask of a pooling."""

    bottom_count: CountRange = (1, 2)

    def __init__(self, spec: schema.LayerParameter) -> None:
        super().__init__(spec)
        self.has_mask = len(spec.bottom) == 2
        self.without_gradient = (1,) if self.has_mask else ()

    def check_planes(self, shapes: Sequence[Shape]) -> None:
        """Checks that the first bottom has four axes, and the mask its shape.

        Raises:
            NetError: they do not.
        """
        if len(shapes[0]) != 4:
            raise NetError(f"{self.spec.type} needs four axes, found a bottom of shape {list(shapes[0])}")
        if self.has_mask:
            require_shape(self, 1, shapes[1], shapes[0])


@LAYERS.register("Unpooling")
class Unpooling(MaskedLayer):
    """The planes before a pooling, as large as ``unpool_size``, or ``unpool_h`` and ``unpool_w``.

    MAX puts each entry at its index in the second bottom, the second top of a pooling, or without one at the first
    position of its window; the rest is 0. TILE adds each entry to its whole window, AVE a share of it, so that the
    shares of an entry sum to it. With a ``pooling_param`` instead of an ``unpooling_param``, the plane is the smallest
    that the pooling can have made the bottom from.

    Reference: Zeiler and Fergus 2014, section 2.1; Noh, Hong, Han 2015, section 3.2.1.
    """

    @override
    def setup(self, *shapes: Shape) -> None:
        self.check_planes(shapes)
        settings = self.spec.unpooling_param
        if not self.spec.HasField("unpooling_param") and self.spec.HasField("pooling_param"):
            self._read_pooling(self.spec.pooling_param, shapes[0])
            return
        self.method = settings.UnpoolMethod.Name(settings.unpool)
        self.kernel, self.stride = (_pair(settings, *names) for names in _WINDOW)
        self.plane, pad = _pair(settings, "unpool_size", "unpool"), _pair(settings, "pad", "pad")
        if any(pad):
            raise NetError(f"pad is {list(pad)}; expected 0")
        # an entry is spread over the plane only
        self.kernel = min(self.kernel[0], self.plane[0]), min(self.kernel[1], self.plane[1])
        starts = [(size - 1) * stride for size, stride in zip(shapes[0][2:], self.stride, strict=True)]
        if not all((*self.kernel, *self.stride)) or any(
            start >= size for start, size in zip(starts, self.plane, strict=True)
        ):
            raise NetError(
                f"the kernel is {list(self.kernel)}, the stride {list(self.stride)} and the plane of the top "
                f"{list(self.plane)}; expected positive numbers, and every window to begin in the plane"
            )

    def _read_pooling(self, settings: schema.PoolingParameter, shape: Shape) -> None:
        self.method = settings.PoolMethod.Name(settings.pool)
        self.kernel, self.stride = (_pair(settings, *names) for names in _WINDOW)
        if self.method != "MAX" or not self.has_mask:
            raise NetError("found only a pooling_param; expected pool: MAX and a mask with it, or an unpooling_param")
        pad = _pair(settings, "pad", "pad")
        height, width = (
            (size - 1) * stride + kernel - 2 * border
            for size, stride, kernel, border in zip(shape[2:], self.stride, self.kernel, pad, strict=True)
        )
        self.plane = height, width
        if min(self.plane) < 1:
            raise NetError(f"the plane of the top is {list(self.plane)}; expected positive sizes")

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return [(*shapes[0][:2], *self.plane)]

    @override
    def forward(self, bottom: Tensor, *mask: Tensor) -> Tensor:
        if self.method == "MAX":
            places = mask[0] if mask else self._firsts(bottom)
            return put_in_planes(bottom, places, self.plane, f"layer {self.spec.name!r}")
        shared = bottom / self._areas(bottom) if self.method == "AVE" else bottom
        ones = bottom.new_ones(1, 1, *self.kernel)
        spread = F.conv_transpose2d(shared.flatten(0, 1)[:, None], ones, stride=self.stride)
        ends = [plane - size for plane, size in zip(self.plane, spread.shape[2:], strict=True)]
        return F.pad(spread, (0, ends[1], 0, ends[0])).reshape(*bottom.shape[:2], *self.plane)

    def _starts(self, bottom: Tensor) -> list[Tensor]:
        """Returns the rows and the columns at which the windows begin."""
        sizes = zip(bottom.shape[2:], self.stride, strict=True)
        return [torch.arange(size, device=bottom.device) * stride for size, stride in sizes]

    def _firsts(self, bottom: Tensor) -> Tensor:
        rows, columns = self._starts(bottom)
        return (rows[:, None] * self.plane[1] + columns).expand(bottom.shape)

    def _areas(self, bottom: Tensor) -> Tensor:
        """Returns the number of entries of the plane in each window."""
        axes = zip(self._starts(bottom), self.kernel, self.plane, strict=True)
        rows, columns = ((start + kernel).clamp(max=plane) - start for start, kernel, plane in axes)
        return (rows[:, None] * columns).to(bottom.dtype)


_WINDOW = (("kernel_size", "kernel"), ("stride", "stride"))


def _pair(settings: schema.UnpoolingParameter | schema.PoolingParameter, field: str, prefix: str) -> tuple[int, int]:
    """Returns the values for height and width, given as one field or as ``<prefix>_h`` and ``<prefix>_w``."""
    names = (f"{prefix}_h", f"{prefix}_w")
    if settings.HasField(field) and any(map(settings.HasField, names)):
        raise NetError(f"found both {field} and {names[0]} or {names[1]}; give one form")
    one = getattr(settings, field)
    return (one, one) if not any(map(settings.HasField, names)) else tuple(getattr(settings, name) for name in names)


def put_in_planes(values: Tensor, places: Tensor, plane: tuple[int, int], what: str) -> Tensor:
    """Returns planes of zeros with values at given places.

    Args:
        values: (n, channels, h, w).
        places: the index of each value in its plane, of the same shape.
        plane: height and width of the planes.
        what: what has the places, for the error message.

    Raises:
        DataError: an index is not in the plane.
    """
    count = plane[0] * plane[1]
    found = indices(places.flatten(2), count, f"{what}: an index of the pooling mask")
    zeros = values.new_zeros(*values.shape[:2], count)
    return zeros.scatter(2, found, values.flatten(2)).reshape(*values.shape[:2], *plane)
