"""Convolution over any number of spatial axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape, canonical_axis
from demitasse.caffe.layers.spatial import Window
from demitasse.errors import NetError

_CONVOLVE = (None, F.conv1d, F.conv2d, F.conv3d)


@LAYERS.register("Convolution")
class Convolution(Layer):
    """Cross-correlation of each bottom with the same filters; one top for each bottom.

    Blobs: weight (num_output, channels / group, kernel...), bias (num_output,) unless ``bias_term`` is false.
    A subclass overrides :meth:`effective` to compute with values other than the stored ones.
    """

    bottom_count = (1, None)
    top_count = (1, None)
    has_blobs = True
    weight: Tensor
    bias: Tensor | None

    @property
    def settings(self) -> schema.ConvolutionParameter:
        """The ConvolutionParameter."""
        return self.spec.convolution_param

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.settings
        shape = shapes[0]
        self.axis = canonical_axis(settings.axis, len(shape))
        channels, spatial = shape[self.axis], len(shape) - self.axis - 1
        self.window = Window.from_settings(settings, spatial)
        self.outputs, self.group = self.count_outputs(channels)
        if not (self.group and self.outputs):
            raise NetError(f"num_output is {self.outputs} and group {self.group}; expected positive numbers for both")
        if channels % self.group or self.outputs % self.group:
            raise NetError(
                f"group {self.group} does not divide the {channels} channels of the bottom "
                f"and the {self.outputs} of the top"
            )
        self.add_blob("weight", self.weight_shape(channels), settings.weight_filler)
        if settings.bias_term:
            self.add_blob("bias", (self.outputs,), settings.bias_filler)
        else:
            self.bias = None
        self._require_same(shapes)

    def count_outputs(self, channels: int) -> tuple[int, int]:
        """Returns the numbers of outputs and of groups for bottoms with this number of channels."""
        return self.settings.num_output, self.settings.group

    def weight_shape(self, channels: int) -> Shape:
        """Returns the shape of the weight for bottoms with this number of channels."""
        return (self.outputs, channels // self.group, *self.window.kernel)

    def _require_same(self, shapes: Sequence[Shape]) -> None:
        for name, shape in zip(self.spec.bottom, shapes, strict=True):
            if shape[self.axis :] != shapes[0][self.axis :]:
                raise NetError(
                    f"bottom {name!r} of shape {list(shape)} does not fit "
                    f"{self.spec.bottom[0]!r} of shape {list(shapes[0])}"
                )

    @override
    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        weight, bias = self.effective()
        if len(bottoms) == 1:
            return self.convolve(bottoms[0], weight, bias)
        return tuple(self.convolve(bottom, weight, bias) for bottom in bottoms)

    def effective(self) -> tuple[Tensor, Tensor | None]:
        """Returns the weight and the bias that :meth:`forward` computes with."""
        return self.weight, self.bias

    def convolve(self, bottom: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Returns the convolution of ``bottom`` with the layer's settings.

        Args:
            bottom: (batch axes..., channels, spatial...).
            weight: of the same shape as the layer's weight.
            bias: of the same shape as the layer's bias, or None.
        """
        if self.axis == 1:
            return self.convolve_items(bottom, weight, bias)
        batch = bottom.shape[: self.axis]
        top = self.convolve_items(bottom.reshape(-1, *bottom.shape[self.axis :]), weight, bias)
        return top.reshape(*batch, *top.shape[1:])

    def convolve_items(self, bottom: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Returns the convolution of a bottom with one batch axis: (n, channels, spatial...)."""
        return convolve(bottom, weight, bias, self.window, self.group)


@LAYERS.register("DepthwiseConvolution")
class DepthwiseConvolution(Convolution):
    """Convolution under another name; its ``group`` is the number of channels."""


@LAYERS.register("ConvolutionDepthwise")
class ConvolutionDepthwise(Convolution):
    """Convolution of each channel with a filter of its own, whatever ``num_output`` and ``group`` say.

    Blobs: weight (channels, 1, kernel...), bias (channels,) unless ``bias_term`` is false.
    """

    @override
    def count_outputs(self, channels: int) -> tuple[int, int]:
        return channels, channels


def convolve(
    bottom: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    window: Window,
    group: int,
) -> Tensor:
    """Convolves (n, channels, spatial...) with any number of spatial axes.

    Up to three axes are convolved by torch. For more axes, the convolution is the sum, over the kernel positions
    along the first axis, of convolutions over the remaining axes.
    """
    _, stride, pad, dilation = window
    axes = len(stride)
    if axes == 0:
        return F.conv1d(bottom[..., None], weight[..., None], bias, groups=group)[..., 0]
    if axes <= 3:
        operation = _CONVOLVE[axes]
        assert operation is not None
        return operation(bottom, weight, bias, stride, pad, dilation, group)
    padded = F.pad(bottom, (0, 0) * (axes - 1) + (pad[0], pad[0]))
    size = (padded.shape[2] - dilation[0] * (weight.shape[2] - 1) - 1) // stride[0] + 1
    if size <= 0:
        raise ValueError("the kernel is larger than the padded bottom")
    total = None
    for position in range(weight.shape[2]):
        start = position * dilation[0]
        taken = padded[:, :, start : start + (size - 1) * stride[0] + 1 : stride[0]].transpose(1, 2)
        part = convolve(
            taken.flatten(0, 1),
            weight[:, :, position],
            bias if position == 0 else None,
            window.without_first_axis(),
            group,
        )
        total = part if total is None else total + part
    assert total is not None
    return total.reshape(-1, size, *total.shape[1:]).transpose(1, 2)
