"""Layers of forks that put values in another order: Permute, Transpose, Reverse, ShuffleChannel, Reorg."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.errors import NetError


def _full_order(order: Sequence[int], ndim: int, name: str) -> list[int]:
    if len(set(order)) != len(order) or not all(0 <= axis < ndim for axis in order):
        raise NetError(f"{name} is {list(order)}; expected different axes of the bottom, 0 to {ndim - 1}")
    return [*order, *(axis for axis in range(ndim) if axis not in order)]


@LAYERS.register("Permute")
class Permute(Layer):
    """The axes in another order: axis i of the top is axis ``order[i]`` of the bottom; axes not named come last."""

    @override
    def setup(self, *shapes: Shape) -> None:
        self.order = _full_order(self.spec.permute_param.order, len(shapes[0]), "order")

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return bottom.permute(self.order).contiguous()


@LAYERS.register("Transpose")
class Transpose(Layer):
    """The axes in another order: axis i of the top is axis ``dim[i]`` of the bottom; all axes are named."""

    @override
    def setup(self, *shapes: Shape) -> None:
        dims, ndim = self.spec.transpose_param.dim, len(shapes[0])
        if len(dims) != ndim:
            raise NetError(f"dim names {len(dims)} axes; expected {ndim}, as the bottom has")
        self.order = _full_order(dims, ndim, "dim")

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return bottom.permute(self.order).contiguous()


@LAYERS.register("Reverse")
class Reverse(Layer):
    """The entries along ``axis`` in the opposite order."""

    @override
    def setup(self, *shapes: Shape) -> None:
        self.axis = self.spec.reverse_param.axis
        if not 0 <= self.axis < len(shapes[0]):
            raise NetError(f"axis is {self.axis}; expected an axis of the bottom, 0 to {len(shapes[0]) - 1}")

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return bottom.flip(self.axis)


@LAYERS.register("ShuffleChannel")
class ShuffleChannel(Layer):
    """Channel j of group i becomes channel j * group + i.

    Reference: Zhang, Zhou, Lin, Sun 2018, section 3.1.
    """

    @override
    def setup(self, *shapes: Shape) -> None:
        self.group = self.spec.shuffle_channel_param.group
        channels = shapes[0][1] if len(shapes[0]) > 1 else 0
        if not self.group or channels % self.group or not channels:
            raise NetError(f"group is {self.group}; expected a divisor of the {channels} channels of the bottom")

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        n, channels = bottom.shape[:2]
        grouped = bottom.reshape(n, self.group, channels // self.group, *bottom.shape[2:])
        return grouped.transpose(1, 2).reshape(bottom.shape)


@LAYERS.register("Reorg")
class Reorg(Layer):
    """Makes (n, c s^2, h / s, w / s) of (n, c, h, w) for a stride s, or with ``reverse`` (n, c / s^2, h s, w s).

    As in Darknet, both directions number the entries as if the bottom had c / s^2 channels of h s by w s: entry
    (c2, y2, x2) of that blob and entry (k, y, x) of one of c channels of h by w belong together, where c2 = k mod
    c / s^2, and the remaining digits of k choose the place in a square of s by s. So without ``reverse``, squares of
    the bottom do not become channels; the nets were trained with this order.

    Reference: Redmon and Farhadi 2017, section 2, "Fine-Grained Features".
    """

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.reorg_param
        self.stride, self.reverse = settings.stride, settings.reverse
        shape, area = shapes[0], self.stride**2
        if len(shape) != 4 or not self.stride or shape[1] % area:
            raise NetError(f"stride is {self.stride}; expected one whose square divides the channels of {list(shape)}")
        if not self.reverse and (shape[2] % self.stride or shape[3] % self.stride):
            raise NetError(f"stride is {self.stride}; expected a divisor of the plane {list(shape[2:])}")

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        n, channels, height, width = bottom.shape
        side, few = self.stride, channels // self.stride**2
        if self.reverse:
            parts = bottom.reshape(n, side, side, few, height, width)  # n, row, column, c2, y, x
            return parts.permute(0, 3, 4, 1, 5, 2).reshape(n, few, height * side, width * side)
        parts = bottom.reshape(n, few, height, side, width, side)  # n, c2, y, row, x, column
        ordered = parts.permute(0, 3, 5, 1, 2, 4)
        return torch.reshape(ordered, (n, channels * side**2, height // side, width // side))
