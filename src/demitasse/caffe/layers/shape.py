"""Layers that rearrange values without changing them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape, canonical_axis
from demitasse.errors import NetError


def _axis(settings: schema.ConcatParameter | schema.SliceParameter, old_name: str, ndim: int) -> int:
    """Returns ``axis``, or the value of its field in older files."""
    if not settings.HasField(old_name):
        return canonical_axis(settings.axis, ndim)
    if settings.HasField("axis"):
        raise NetError(f"found both axis and {old_name}; give one of them")
    return canonical_axis(getattr(settings, old_name), ndim, old_name)


@LAYERS.register("Concat")
class Concat(Layer):
    """Concatenates all bottoms along an axis."""

    bottom_count = (1, None)

    @override
    def setup(self, *shapes: Shape) -> None:
        self.axis = _axis(self.spec.concat_param, "concat_dim", len(shapes[0]))

    @override
    def forward(self, *bottoms: Tensor) -> Tensor:
        return torch.cat(bottoms, self.axis)


@LAYERS.register("Slice")
class Slice(Layer):
    """Cuts the bottom along an axis, at ``slice_point`` or into equal parts; one top for each part."""

    top_count = (1, None)

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.slice_param
        self.axis = _axis(settings, "slice_dim", len(shapes[0]))
        size, count = shapes[0][self.axis], len(self.spec.top)
        if settings.slice_point:
            bounds = [0, *settings.slice_point, size]
        elif size % count:
            raise NetError(f"{size} entries of axis {self.axis} cannot be cut into {count} equal tops")
        else:
            bounds = list(range(0, size + 1, size // count))
        self.sizes = [end - start for start, end in pairwise(bounds)]
        if len(self.sizes) != count or min(self.sizes) <= 0:
            raise NetError(
                f"slice_point {bounds[1:-1]} does not cut {size} entries of axis {self.axis} into {count} tops"
            )

    @override
    def forward(self, bottom: Tensor) -> tuple[Tensor, ...]:
        return torch.split(bottom, self.sizes, self.axis)


@LAYERS.register("Flatten")
class Flatten(Layer):
    """Flattens the axes from ``axis`` to ``end_axis`` (inclusive) to one."""

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.flatten_param
        self.axis = canonical_axis(settings.axis, len(shapes[0]))
        self.end_axis = canonical_axis(settings.end_axis, len(shapes[0]), "end_axis")

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        return bottom.flatten(self.axis, self.end_axis)


@LAYERS.register("Reshape")
class Reshape(Layer):
    """Changes the shape: 0 keeps an axis, -1 is inferred from the number of values.

    ``axis`` and ``num_axes`` select the axes of the bottom that the new shape replaces.
    """

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.reshape_param
        ndim = len(shapes[0])
        self.dims = list(settings.shape.dim)
        self.start = canonical_axis(settings.axis, ndim + 1)
        self.end = ndim if settings.num_axes == -1 else self.start + settings.num_axes
        if not self.start <= self.end <= ndim:
            raise NetError(
                f"num_axes {settings.num_axes} from axis {self.start} on exceeds the bottom's shape {list(shapes[0])}"
            )
        if any(size == 0 and self.start + i >= ndim for i, size in enumerate(self.dims)):
            raise NetError(f"shape {self.dims} keeps an axis that the bottom {list(shapes[0])} does not have")

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        shape = bottom.shape
        middle = [size or shape[self.start + i] for i, size in enumerate(self.dims)]
        return bottom.reshape((*shape[: self.start], *middle, *shape[self.end :]))


@LAYERS.register("Crop")
class Crop(Layer):
    """Crops the first bottom, from ``axis`` on, to the shape of the second.

    The crop begins at ``offset``: one number for all cropped axes, or one for each; 0 if it is not given.
    """

    bottom_count = (2, 2)

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.crop_param
        whole, wanted = shapes
        self.axis = canonical_axis(settings.axis, len(whole))
        count, offset = len(whole) - self.axis, list(settings.offset)
        if len(offset) not in (0, 1, count):
            raise NetError(f"offset has {len(offset)} values for {count} cropped axes")
        self.offset = offset if len(offset) == count else (offset or [0]) * count
        ends = [start + size for start, size in zip(self.offset, wanted[self.axis :], strict=False)]
        if len(wanted) != len(whole) or any(e > size for e, size in zip(ends, whole[self.axis :], strict=True)):
            raise NetError(
                f"a crop of shape {list(wanted)} at offset {self.offset} from axis {self.axis} on does not fit in "
                f"the bottom of shape {list(whole)}"
            )

    @override
    def forward(self, bottom: Tensor, reference: Tensor) -> Tensor:
        for index, start in enumerate(self.offset):
            axis = self.axis + index
            bottom = bottom.narrow(axis, start, reference.shape[axis])
        return bottom


@LAYERS.register("Tile")
class Tile(Layer):
    """Repeats the bottom ``tiles`` times along an axis."""

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.tile_param
        self.axis = canonical_axis(settings.axis, len(shapes[0]))
        self.tiles = settings.tiles
        if self.tiles <= 0:
            raise NetError(f"tiles is {self.tiles}; expected a positive number")

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        sizes = bottom.shape
        tiled = bottom.unsqueeze(self.axis).expand(*sizes[: self.axis], self.tiles, *sizes[self.axis :])
        return tiled.flatten(self.axis, self.axis + 1)


@LAYERS.register("Split")
class Split(Layer):
    """Copies the bottom to several tops; their gradients are summed."""

    top_count = (1, None)

    @override
    def forward(self, bottom: Tensor) -> tuple[Tensor, ...]:
        return (bottom,) * len(self.spec.top)


@LAYERS.register("Silence")
class Silence(Layer):
    """Consumes bottoms that no other layer uses, so that they are not outputs of the net."""

    bottom_count = (1, None)
    top_count = (0, 0)

    @override
    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return ()
