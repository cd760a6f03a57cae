"""DeformableConvolution: convolution at positions that the net chooses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape, require_shape
from demitasse.caffe.layers.spatial import Window
from demitasse.errors import NetError

_IMAGE_AXES = 4


@LAYERS.register("DeformableConvolution")
class DeformableConvolution(Layer):
    """Cross-correlation of images with filters, each entry of which reads at a position moved by an offset.

    Bottoms: (n, channels, h, w), and the offsets, (n, 2 deformable_group kernel_h kernel_w, height, width) for a top
    of height by width: of each group of channels and each entry of the kernel, rows and columns. Values between
    entries are interpolated bilinearly, those outside of the image are 0.

    Blobs: weight (num_output, channels / group, kernel...), bias (num_output,) unless ``bias_term`` is false.

    Reference: Dai, Qi, Xiong, Li, Zhang, Hu, Wei 2017, equations 2 to 4.
    """

    bottom_count = (2, 2)
    has_blobs = True
    weight: Tensor
    bias: Tensor | None

    @override
    def setup(self, *shapes: Shape) -> None:
        settings, shape = self.spec.deformable_convolution_param, shapes[0]
        if len(shape) != _IMAGE_AXES or settings.axis != 1:
            raise NetError(
                f"found a bottom of shape {list(shape)} and axis {settings.axis}; expected four axes, axis 1"
            )
        self.window = Window.from_settings(settings, 2)
        self.outputs, self.group, self.parts = settings.num_output, settings.group, settings.deformable_group
        channels = shape[1]
        if not (self.outputs and self.group and self.parts):
            raise NetError(
                f"num_output is {self.outputs}, group {self.group} and deformable_group {self.parts}; expected "
                "positive numbers"
            )
        if channels % self.group or self.outputs % self.group or channels % self.parts:
            raise NetError(
                f"group {self.group} and deformable_group {self.parts} do not divide the {channels} channels of the "
                f"bottom, or group not the {self.outputs} of the top"
            )
        self.plane = tuple(
            (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, pad, dilation in zip(shape[2:], *self.window, strict=True)
        )
        if min(self.plane) < 1:
            raise NetError(f"the kernel {list(self.window.kernel)} is larger than the padded bottom {list(shape[2:])}")
        kernel = self.window.kernel
        require_shape(self, 1, shapes[1], (shape[0], 2 * self.parts * kernel[0] * kernel[1], *self.plane))
        self.add_blob("weight", (self.outputs, channels // self.group, *kernel), settings.weight_filler)
        if settings.bias_term:
            self.add_blob("bias", (self.outputs,), settings.bias_filler)
        else:
            self.bias = None

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return [(shapes[0][0], self.outputs, *self.plane)]

    @override
    def forward(self, bottom: Tensor, offsets: Tensor) -> Tensor:
        n, channels = bottom.shape[:2]
        inputs = channels // self.group * self.window.kernel[0] * self.window.kernel[1]
        read = self._sampled(bottom, offsets).reshape(n, self.group, inputs, self.plane[0] * self.plane[1])
        top = (self.weight.reshape(self.group, -1, inputs) @ read).reshape(n, self.outputs, *self.plane)
        return top if self.bias is None else top + self.bias[:, None, None]

    def _sampled(self, bottom: Tensor, offsets: Tensor) -> Tensor:
        """Returns the values that the kernel reads, (n parts, channels / parts, kernel entries * positions)."""
        n, channels, height, width = bottom.shape
        entries = self.window.kernel[0] * self.window.kernel[1]
        moves = offsets.reshape(n * self.parts, entries, 2, *self.plane)
        rows, columns = (
            start.to(bottom)[None] + moves[:, :, axis] for axis, start in enumerate(self._starts(bottom.device))
        )
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        # grid_sample takes the middles of the outermost entries as -1 and 1
        grid = torch.stack([_scaled(columns, width), _scaled(rows, height)], -1).flatten(2, 3).flatten(1, 2)
        planes = bottom.reshape(n * self.parts, channels // self.parts, height, width)
        found = F.grid_sample(planes, grid[:, None], mode="bilinear", padding_mode="border", align_corners=True)
        return found[:, :, 0] * inside.flatten(1)[:, None]

    def _starts(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Returns rows and columns without offsets, (kernel entries, height, width)."""
        kernel, stride, pad, dilation = self.window
        lines = [
            torch.arange(count, device=device)[:, None] * gap + torch.arange(size, device=device) * step - border
            for count, gap, size, step, border in zip(kernel, dilation, self.plane, stride, pad, strict=True)
        ]
        shape = (*kernel, *self.plane)
        rows = lines[0][:, None, :, None].expand(shape)
        columns = lines[1][None, :, None, :].expand(shape)
        return rows.flatten(0, 1), columns.flatten(0, 1)


def _scaled(places: Tensor, size: int) -> Tensor:
    return places * (2 / (size - 1)) - 1 if size > 1 else torch.zeros_like(places)
