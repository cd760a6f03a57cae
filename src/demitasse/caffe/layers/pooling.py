"""Pooling over windows of an image."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.errors import NetError

_SMALLEST = torch.finfo(torch.float32).min


@LAYERS.register("Pooling")
class Pooling(Layer):
    """The maximum, the mean or a sample of every window.

    The last window may reach beyond the edge, but in a padded plane it does not start beyond it. A mean includes the
    padding, but not the entries beyond it. The second top of MAX is the index of each maximum in its plane.

    Reference: for STOCHASTIC, Zeiler and Fergus 2013, sections 3.1 and 3.2.
    """

    top_count = (1, 2)
    share: Tensor

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.pooling_param
        if len(shapes[0]) != 4:
            raise NetError(f"Pooling needs four axes, found a bottom of shape {list(shapes[0])}")
        self.method = settings.PoolMethod.Name(settings.pool)
        self.plane = shapes[0][2:]
        self._read_window(settings)
        if self.method == "STOCHASTIC" and any(self.pad):
            raise NetError(f"pad is {list(self.pad)}; expected 0 for STOCHASTIC pooling")
        if len(self.spec.top) == 2 and self.method != "MAX":
            raise NetError(f"{self.method} pooling has two tops; expected one (only MAX pooling has a second)")
        self._place_windows(_rounds_up(settings))

    def _read_window(self, settings: schema.PoolingParameter) -> None:
        if settings.global_pooling:
            if any(settings.HasField(name) for name in ("kernel_size", "kernel_h", "kernel_w")):
                raise NetError("found both global_pooling and a kernel size; give one of them")
            self.kernel = self.plane
        else:
            self.kernel = _pair(settings, "kernel_size", "kernel")
        self.stride = _pair(settings, "stride", "stride")
        self.pad = _pair(settings, "pad", "pad")
        if not all((*self.kernel, *self.stride)):
            raise NetError(
                f"the kernel is {list(self.kernel)} and the stride {list(self.stride)}; expected positive numbers"
            )
        if settings.global_pooling and (any(self.pad) or self.stride != (1, 1)):
            raise NetError(
                f"global_pooling has pad {list(self.pad)} and stride {list(self.stride)}; expected pad 0 and stride 1"
            )
        if any(pad >= kernel for pad, kernel in zip(self.pad, self.kernel, strict=True)):
            raise NetError(f"pad {list(self.pad)} is not smaller than the kernel {list(self.kernel)}")

    def _place_windows(self, ceil_mode: bool) -> None:
        """Decides whether torch's pooling has the same windows as Caffe's; if not, the bottom is padded to fit."""
        self.ceil_mode = ceil_mode
        axes = list(zip(self.plane, self.kernel, self.stride, self.pad, strict=True))
        self.sizes = sizes = [_size(*axis, ceil_mode) for axis in axes]
        if min(sizes) <= 0:
            raise NetError(f"kernel {list(self.kernel)} is larger than the padded plane {list(self.plane)}")
        native = all(
            2 * pad <= kernel and (size - 1) * stride < length + pad
            for (length, kernel, stride, pad), size in zip(axes, sizes, strict=True)
        )
        self.margin: tuple[int, ...] = ()
        if native and self.method != "STOCHASTIC":
            return
        ends = [
            (size - 1) * stride + kernel - length - pad
            for (length, kernel, stride, pad), size in zip(axes, sizes, strict=True)
        ]
        self.margin = (self.pad[1], ends[1], self.pad[0], ends[0])
        areas = [_counts(*axis, size) for axis, size in zip(axes, sizes, strict=True)]
        self.register_buffer("share", 1 / (areas[0][:, None] * areas[1]), persistent=False)

    @override
    def forward(self, bottom: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return _POOL[self.method](self, bottom)

    def maximum(self, bottom: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Returns the maximum of each window and, for two tops, its index in the plane."""
        padded, pad = bottom, self.pad
        if self.margin:
            padded, pad = F.pad(bottom, self.margin, value=_SMALLEST), (0, 0)
        if len(self.spec.top) == 1:
            return torch.max_pool2d(padded, self.kernel, self.stride, pad, 1, self.ceil_mode)
        top, places = F.max_pool2d(padded, self.kernel, self.stride, pad, ceil_mode=self.ceil_mode, return_indices=True)
        if self.margin:
            row = places // padded.shape[3] - self.margin[2]
            places = row * self.plane[1] + places % padded.shape[3] - self.margin[0]
        return top, places.to(top.dtype)

    def average(self, bottom: Tensor) -> Tensor:
        """Returns the mean of each window."""
        if not self.margin:
            return F.avg_pool2d(bottom, self.kernel, self.stride, self.pad, self.ceil_mode)
        padded = F.pad(bottom, self.margin)
        return F.avg_pool2d(padded, self.kernel, self.stride, divisor_override=1) * self.share

    def stochastic(self, bottom: Tensor) -> Tensor:
        """Samples an entry of each window in proportion to its value; in testing, the mean weighted by the values."""
        padded = F.pad(bottom, self.margin)
        windows = padded.unfold(2, self.kernel[0], self.stride[0]).unfold(3, self.kernel[1], self.stride[1])
        windows = windows.flatten(4)
        if not self.training:
            total = windows.sum(-1)
            weighted = windows.square().sum(-1) / torch.where(total > 0, total, 1)
            return torch.where(total > 0, weighted, 0)
        mass = windows.detach().cumsum(-1)
        threshold = torch.rand_like(mass[..., -1:]) * mass[..., -1:]
        place = (mass < threshold).sum(-1, keepdim=True).clamp(max=windows.shape[-1] - 1)
        return windows.gather(-1, place).squeeze(-1)


@LAYERS.register("Pooling3D")
class Pooling3D(Layer):
    """The maximum or the mean of every window of a video (n, channels, time, height, width).

    The last window along an axis may reach beyond the edge. A mean includes the padding of height and width.

    Reference: Tran et al. 2015, section 3.1, and C3D's code.
    """

    share: Tensor

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.pooling3d_param
        self.method, pad = schema.PoolingParameter.PoolMethod.Name(settings.pool), settings.pad
        if len(shapes[0]) != 5:
            raise NetError(f"Pooling3D needs five axes, found a bottom of shape {list(shapes[0])}")
        if self.method == "STOCHASTIC" or (pad and self.method != "AVE"):
            raise NetError(f"found pool: {self.method} with pad {pad}; expected AVE, or MAX without pad")
        self.kernel = (settings.kernel_depth, settings.kernel_size, settings.kernel_size)
        self.stride = (settings.temporal_stride, settings.stride, settings.stride)
        if not all((*self.kernel, *self.stride)):
            raise NetError(
                f"the kernel is {list(self.kernel)} and the stride {list(self.stride)}; expected positive numbers"
            )
        if pad >= settings.kernel_size:
            raise NetError(f"pad {pad} is not smaller than the kernel {list(self.kernel)}")
        axes = list(zip(shapes[0][2:], self.kernel, self.stride, (0, pad, pad), strict=True))
        if any(length + 2 * pad < kernel for length, kernel, _, pad in axes):
            raise NetError(f"kernel {list(self.kernel)} is larger than the padded bottom {list(shapes[0][2:])}")
        self._place_windows(axes)

    def _place_windows(self, axes: list[tuple[int, int, int, int]]) -> None:
        """Decides how much the bottom is padded, so that all windows lie in it, and what a mean divides by."""
        sizes = [math.ceil((length + 2 * pad - kernel) / stride) + 1 for length, kernel, stride, pad in axes]
        self.margin: tuple[int, ...] = ()
        for (length, kernel, stride, pad), size in zip(axes, sizes, strict=True):
            self.margin = (pad, (size - 1) * stride + kernel - length - pad, *self.margin)
        time, rows, columns = (_counts(*axis, size) for axis, size in zip(axes, sizes, strict=True))
        counts = time[:, None, None] * rows[:, None] * columns
        self.register_buffer("share", math.prod(self.kernel) / counts, persistent=False)

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        if self.method == "AVE":
            # the exporter to ONNX ignores divisor_override in three dimensions
            return F.avg_pool3d(F.pad(bottom, self.margin), self.kernel, self.stride) * self.share
        return F.max_pool3d(F.pad(bottom, self.margin, value=_SMALLEST), self.kernel, self.stride)


_POOL = {"MAX": Pooling.maximum, "AVE": Pooling.average, "STOCHASTIC": Pooling.stochastic}


def _rounds_up(settings: schema.PoolingParameter) -> bool:
    """Returns whether the number of windows is rounded up: by ``round_mode``, or by ``ceil_mode`` of forks."""
    rounds_up = bool(settings.round_mode == settings.CEIL)
    if not settings.HasField("ceil_mode"):
        return rounds_up
    if settings.HasField("round_mode") and rounds_up != settings.ceil_mode:
        raise NetError("round_mode and ceil_mode contradict each other; give only one of them")
    return bool(settings.ceil_mode)


def _pair(settings: schema.PoolingParameter, field: str, prefix: str) -> tuple[int, int]:
    names = (f"{prefix}_h", f"{prefix}_w")
    if not any(settings.HasField(name) for name in names):
        return (getattr(settings, field),) * 2
    if settings.HasField(field):
        raise NetError(f"found both {field} and {names[0]} or {names[1]}; give one form")
    return getattr(settings, names[0]), getattr(settings, names[1])


def _size(length: int, kernel: int, stride: int, pad: int, ceil_mode: bool) -> int:
    """Returns the number of windows along an axis."""
    span = length + 2 * pad - kernel
    size = (math.ceil(span / stride) if ceil_mode else span // stride) + 1
    if pad and (size - 1) * stride >= length + pad:
        size -= 1
    return size


def _counts(length: int, kernel: int, stride: int, pad: int, size: int) -> Tensor:
    """Returns the number of entries of the padded axis that each window covers."""
    starts = torch.arange(size) * stride - pad
    return ((starts + kernel).clamp(max=length + pad) - starts).clamp(min=1)
