"""The window of a ConvolutionParameter: kernel, stride, pad and dilation along every spatial axis."""

from __future__ import annotations

from typing import NamedTuple

from demitasse.caffe import schema
from demitasse.errors import NetError

_Settings = schema.ConvolutionParameter | schema.DeformableConvolutionParameter


class Window(NamedTuple):
    """Kernel, stride, pad and dilation, each with one number for every spatial axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    @classmethod
    def from_settings(cls, settings: _Settings, axes: int) -> Window:
        """Returns the window of a ConvolutionParameter for the given number of spatial axes.

        Raises:
            NetError: values are missing, too many or 0.
        """
        window = cls(
            _spatial(settings, "kernel_size", "kernel", axes, None),
            _spatial(settings, "stride", "stride", axes, 1),
            _spatial(settings, "pad", "pad", axes, 0),
            _spatial(settings, "dilation", "dilation", axes, 1),
        )
        if not all((*window.kernel, *window.stride, *window.dilation)):
            raise NetError(
                f"found kernel {list(window.kernel)}, stride {list(window.stride)} and dilation "
                f"{list(window.dilation)}; expected positive numbers"
            )
        return window

    def without_first_axis(self) -> Window:
        """Returns the window of all spatial axes except the first."""
        return Window(*(values[1:] for values in self))


def _spatial(settings: _Settings, field: str, prefix: str, axes: int, default: int | None) -> tuple[int, ...]:
    """Returns a setting for all spatial axes, given as a repeated field or as ``<prefix>_h`` and ``<prefix>_w``."""
    values = list(getattr(settings, field))
    names = (f"{prefix}_h", f"{prefix}_w")
    if prefix != "dilation" and any(settings.HasField(name) for name in names):
        if values or axes != 2:
            raise NetError(
                f"found {names[0]} or {names[1]}; expected them only without {field} and for two spatial axes"
            )
        return tuple(getattr(settings, name) for name in names)
    if not values and default is None and axes:
        raise NetError(f"{field} is missing")
    if len(values) not in (0, 1, axes):
        raise NetError(f"{field} has {len(values)} values for {axes} spatial axes")
    return tuple(values if len(values) == axes else (values or [default]) * axes)
