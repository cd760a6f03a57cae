"""Scale and Bias: multiply by or add an operand that is broadcast over the other axes."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape, canonical_axis
from demitasse.errors import NetError


class Broadcasting(Layer):
    """Base of layers whose second operand, a blob or the second bottom, covers some axes of the first bottom."""

    bottom_count = (1, 2)
    has_blobs = True
    in_place = True
    operand: str

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.settings
        shape = shapes[0]
        axis = canonical_axis(settings.axis, len(shape)) if shape else 0
        if len(shapes) == 2:
            covered = shapes[1]
            if shape[axis : axis + len(covered)] != covered:
                raise NetError(
                    f"bottom {self.spec.bottom[1]!r} of shape {list(covered)} does not fit "
                    f"{self.spec.bottom[0]!r} of shape {list(shape)} from axis {axis} on"
                )
        else:
            covered = self._covered(shape, axis)
            self.add_blob(self.operand, covered, self._filler())
        self.covered = covered
        # trailing ones make torch broadcast over the axes that follow
        self.behind = (1,) * (len(shape) - axis - len(covered))
        self.expanded = (*covered, *self.behind)

    def _covered(self, shape: Shape, axis: int) -> Shape:
        count = self.settings.num_axes
        if count == -1:
            return shape[axis:]
        if count < 0 or axis + count > len(shape):
            raise NetError(f"num_axes {count} from axis {axis} on exceeds the bottom's shape {list(shape)}")
        return shape[axis : axis + count]

    def _broadcast(self, operand: Tensor) -> Tensor:
        # uses the operand's current shape, since it may cover the batch, whose size may change
        return operand.reshape(*operand.shape, *self.behind)

    @property
    def settings(self) -> schema.ScaleParameter | schema.BiasParameter:
        """The message with ``axis``, ``num_axes`` and ``filler``."""
        return self.spec.scale_param

    def _filler(self) -> schema.FillerParameter:
        return self.settings.filler


@LAYERS.register("Scale")
class Scale(Broadcasting):
    """bottom * scale (+ bias); scale is the second bottom, or a blob that is filled with 1 by default.

    Blobs: weight, unless there are two bottoms; bias, with ``bias_term``; both have the shape of the covered axes.
    """

    operand = "weight"
    weight: Tensor
    bias: Tensor

    @override
    def setup(self, *shapes: Shape) -> None:
        super().setup(*shapes)
        self.has_bias = self.spec.scale_param.bias_term
        if self.has_bias:
            self.add_blob("bias", self.covered, self.spec.scale_param.bias_filler)

    @override
    def _filler(self) -> schema.FillerParameter:
        if self.settings.HasField("filler"):
            return self.settings.filler
        return schema.FillerParameter(value=1)

    @override
    def forward(self, bottom: Tensor, scale: Tensor | None = None) -> Tensor:
        factor = self._broadcast(self.weight if scale is None else scale)
        if self.has_bias:
            return torch.addcmul(self._broadcast(self.bias), bottom, factor)
        return bottom * factor


@LAYERS.register("Bias")
class Bias(Broadcasting):
    """bottom + bias; bias is the second bottom, or a blob with the shape of the covered axes."""

    operand = "bias"
    bias: Tensor

    @property
    @override
    def settings(self) -> schema.ScaleParameter | schema.BiasParameter:
        return self.spec.bias_param

    @override
    def forward(self, bottom: Tensor, bias: Tensor | None = None) -> Tensor:
        return bottom + self._broadcast(self.bias if bias is None else bias)
