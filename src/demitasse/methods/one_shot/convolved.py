"""What a convolution convolves, which may not be what it is given: ports of TensorFlow's nets pad in their forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from demitasse.methods.one_shot.calls import Arguments, Named

_FORWARDS = nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward


class _Found(BaseException):
    """Ends a forward; no ``except Exception`` of a module stops it."""


class _Convolutions(TorchFunctionMode):
    """Ends at the convolution with a weight, and keeps its arguments."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight
        self.arguments: tuple[Tensor, str | Sequence[int]] | None = None

    @override
    def __torch_function__(
        self, func: object, types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> object:
        named = dict(kwargs or {})
        if func in (torch.conv1d, torch.conv2d, torch.conv3d):
            given = dict(zip(("input", "weight", "bias", "stride", "padding"), args, strict=False)) | named
            if given["weight"] is self.weight:
                padding = given.get("padding", 0)
                axes = self.weight.ndim - 2
                self.arguments = given["input"], [padding] * axes if isinstance(padding, int) else padding
                raise _Found
        assert callable(func)
        return func(*args, **named)


def convolved(module: _ConvNd, arguments: Arguments, named: Named) -> tuple[Tensor, list[int]] | None:
    """Returns what a convolution with a forward of its own convolves, and the padding; None if it has none.

    Args:
        module: the layer.
        arguments: the positional arguments of a call.
        named: its keyword arguments.

    Returns:
        (n, channels, sizes...), and the padding with zeros as F.pad takes it.
    """
    if type(module).forward in _FORWARDS:
        return None
    with torch.no_grad(), suppress(_Found), _Convolutions(module.weight) as seen:
        module.forward(*arguments, **named)
    if seen.arguments is None:
        return None
    inputs, padding = seen.arguments
    return inputs, sides(module, padding)


def sides(module: _ConvNd, padding: str | Sequence[int]) -> list[int]:
    """Returns the padding as F.pad takes it: of the last axis first, two sides each."""
    if not isinstance(padding, str):
        return [side for size in reversed(padding) for side in (int(size), int(size))]
    found: list[int] = []
    for size, spread in zip(reversed(module.kernel_size), reversed(module.dilation), strict=True):
        total = spread * (size - 1) if padding == "same" else 0
        found += [total // 2, total - total // 2]
    return found
