"""Deconvolution, the transpose of Convolution, and Im2col, which copies the windows of a convolution to channels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape, canonical_axis
from demitasse.caffe.layers.convolution import Convolution
from demitasse.caffe.layers.spatial import Window

_TRANSPOSE = (None, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


@LAYERS.register("Deconvolution")
class Deconvolution(Convolution):
    """The gradient of a convolution with respect to its bottom, used as a forward pass: it enlarges by the stride.

    Along each axis the top has stride * (size - 1) + dilation * (kernel - 1) + 1 - 2 * pad entries.

    Blobs: weight (channels, num_output / group, kernel...), bias (num_output,) unless ``bias_term`` is false.
    """

    @override
    def weight_shape(self, channels: int) -> Shape:
        return (channels, self.settings.num_output // self.group, *self.window.kernel)

    @override
    def convolve_items(self, bottom: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return deconvolve(bottom, weight, bias, self.window, self.group)


def deconvolve(
    bottom: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    window: Window,
    group: int,
) -> Tensor:
    """Deconvolves (n, channels, spatial...) with any number of spatial axes.

    Up to three axes are deconvolved by torch. For more axes, each entry along the first axis is deconvolved over the
    remaining axes, once for each kernel position, and added at the output positions of that kernel position.
    """
    _, stride, pad, dilation = window
    axes = len(stride)
    if axes == 0:
        return F.conv_transpose1d(bottom[..., None], weight[..., None], bias, groups=group)[..., 0]
    if axes <= 3:
        operation = _TRANSPOSE[axes]
        assert operation is not None
        # of torch, groups with a bias take 4 to 20 times as long on a CPU
        top = operation(bottom, weight, None, stride, pad, 0, group, dilation)
        return top if bias is None else top.add_(bias.reshape(-1, *(1,) * axes))
    size = stride[0] * (bottom.shape[2] - 1) + dilation[0] * (weight.shape[2] - 1) + 1
    if size <= 2 * pad[0]:
        raise ValueError("the pad is so large that the top is empty")
    planes = bottom.transpose(1, 2).flatten(0, 1)
    total = None
    for position in range(weight.shape[2]):
        part = deconvolve(planes, weight[:, :, position], None, window.without_first_axis(), group)
        part = part.reshape(-1, bottom.shape[2], *part.shape[1:]).transpose(1, 2)
        if total is None:
            total = part.new_zeros((*part.shape[:2], size, *part.shape[3:]))
        places = torch.arange(bottom.shape[2], device=part.device) * stride[0] + position * dilation[0]
        total = total.index_add(2, places, part)
    assert total is not None
    top = total.narrow(2, pad[0], size - 2 * pad[0])
    return top if bias is None else top + bias.reshape(-1, *(1,) * axes)


@LAYERS.register("Im2col")
class Im2col(Layer):
    """Copies each window of a convolution to channels: (n, channels * kernel, windows along each axis...).

    It uses the window and ``axis`` of ``convolution_param``. The order is channels first, then kernel positions.
    """

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.convolution_param
        self.axis = canonical_axis(settings.axis, len(shapes[0]))
        self.window = Window.from_settings(settings, len(shapes[0]) - self.axis - 1)

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        kernel, stride, pad, dilation = self.window
        taken = F.pad(bottom, [side for size in reversed(pad) for side in (size, size)])
        for index in range(len(kernel)):
            reach = (kernel[index] - 1) * dilation[index] + 1
            taken = taken.unfold(self.axis + 1 + index, reach, stride[index])[..., :: dilation[index]]
        # (batch..., channels, windows..., kernel...) -> (batch..., channels, kernel..., windows...)
        axes, first = len(kernel), self.axis + 1
        taken = taken.permute(*range(first), *range(first + axes, first + 2 * axes), *range(first, first + axes))
        channels = bottom.shape[self.axis] * math.prod(kernel)
        return taken.reshape(*bottom.shape[: self.axis], channels, *taken.shape[first + axes :])
