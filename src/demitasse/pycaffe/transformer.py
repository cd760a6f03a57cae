"""Converts images to inputs of a net, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from demitasse.caffe.models.blobs import Array
from demitasse.pycaffe.images import resize_image
from demitasse.pycaffe.spec_errors import MismatchError

if TYPE_CHECKING:
    from demitasse.pycaffe.structure import Structure


class Transformer:
    """Converts an image (height, width, channels) to the form that an input of a net expects.

    The steps are, in this order: resize to the input, transpose axes, swap channels, multiply by ``raw_scale``,
    subtract the mean, multiply by ``input_scale``. Steps that are not set are skipped.

    Args:
        inputs: name of each input -> its shape (batch, channels, height, width).
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = {name: tuple(shape) for name, shape in inputs.items()}
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, Array] = {}
        self.input_scale: dict[str, float] = {}

    def _shape(self, in_: str) -> tuple[int, ...]:
        if in_ not in self.inputs:
            raise MismatchError(f"{in_!r} is not an input of the net; expected one of {self.inputs}")
        return self.inputs[in_]

    def preprocess(self, in_: str, data: Array) -> Array:
        """Returns ``data`` (height, width, channels) in the form of the input, float32; ``data`` is not changed.

        Raises:
            MismatchError: the net has no such input, or the image does not match the settings.
        """
        size = self._shape(in_)[2:]
        result = np.array(data, np.float32)
        if result.shape[:2] != size:
            result = resize_image(result, size)
        if in_ in self.transpose:
            result = result.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            result = result[list(self.channel_swap[in_])]
        if in_ in self.raw_scale:
            result = result * np.float32(self.raw_scale[in_])
        if in_ in self.mean:
            result = result - self.mean[in_].astype(np.float32)
        if in_ in self.input_scale:
            result = result * np.float32(self.input_scale[in_])
        return result

    def deprocess(self, in_: str, data: Array) -> Array:
        """Returns the image (height, width, channels) for an input; inverts ``preprocess``, except the resizing."""
        axes = len(self._shape(in_)) - 1
        result = np.array(data, np.float32)
        while result.ndim > axes and len(result) == 1:
            result = result[0]
        if in_ in self.input_scale:
            result = result / np.float32(self.input_scale[in_])
        if in_ in self.mean:
            result = result + self.mean[in_].astype(np.float32)
        if in_ in self.raw_scale:
            result = result / np.float32(self.raw_scale[in_])
        if in_ in self.channel_swap:
            result = result[np.argsort(self.channel_swap[in_])]
        if in_ in self.transpose:
            result = result.transpose(np.argsort(self.transpose[in_]))
        return result

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Sets the order of axes: (2, 0, 1) puts the channels first.

        Raises:
            MismatchError: the number of axes differs from the input's without the batch axis.
        """
        axes = len(self._shape(in_)) - 1
        if len(order) != axes:
            raise MismatchError(
                f"the transpose order {tuple(order)} has {len(order)} axes; input {in_!r} expects {axes}"
            )
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Sets the order of channels, the first axis after the transpose: (2, 1, 0) converts RGB to BGR.

        Raises:
            MismatchError: the number of channels differs from the input's.
        """
        channels = self._shape(in_)[1]
        if len(order) != channels:
            raise MismatchError(
                f"the channel swap {tuple(order)} has {len(order)} channels; input {in_!r} expects {channels}"
            )
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Sets the factor of the pixels before subtracting the mean: 255 for most nets."""
        self._shape(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: Array) -> None:
        """Sets the mean to subtract.

        Args:
            in_: the name of the input.
            mean: (channels,), (height, width) or (channels, height, width); resized if it has another size.

        Raises:
            MismatchError: the mean has other axes, or another number of channels.
        """
        channels, *size = self._shape(in_)[1:]
        mean = np.asarray(mean)
        if mean.ndim == 1:
            if len(mean) != channels:
                raise MismatchError(f"the mean has {len(mean)} channels; input {in_!r} expects {channels}")
            mean = mean[:, None, None]
        elif mean.ndim not in (2, 3):
            raise MismatchError(f"the mean has shape {mean.shape}; expected (channels, height, width) or (channels,)")
        else:
            mean = self._fitted(mean.reshape(-1, *mean.shape[-2:]), channels, size)
        self.mean[in_] = mean

    def _fitted(self, mean: Array, channels: int, size: Sequence[int]) -> Array:
        if len(mean) not in (1, channels):
            raise MismatchError(f"the mean has {len(mean)} channels; the input expects {channels}")
        if mean.shape[1:] == tuple(size):
            return mean
        return resize_image(mean.transpose(1, 2, 0), size).transpose(2, 0, 1)

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Sets the factor of the result after subtracting the mean."""
        self._shape(in_)
        self.input_scale[in_] = scale


def image_input(net: Structure) -> tuple[str, tuple[int, ...]]:
    """Returns name and shape of the first input of a net.

    Raises:
        MismatchError: the net has no input, or its first input is not images.
    """
    for name in net.inputs[:1]:
        shape = tuple(net.blobs[name].data.shape)
        if len(shape) == 4:
            return name, shape
        raise MismatchError(f"input {name!r} has shape {shape}; expected images (batch, channels, height, width)")
    raise MismatchError("the net has no input; give the prototxt for deployment, with an Input layer")


def image_transformer(
    in_: str,
    shape: Sequence[int],
    mean: Array | None = None,
    input_scale: float | None = None,
    raw_scale: float | None = None,
    channel_swap: Sequence[int] | None = None,
) -> Transformer:
    """Returns a transformer for one input that puts channels first and applies the given settings."""
    transformer = Transformer({in_: shape})
    transformer.set_transpose(in_, (2, 0, 1))
    if mean is not None:
        transformer.set_mean(in_, mean)
    if input_scale is not None:
        transformer.set_input_scale(in_, input_scale)
    if raw_scale is not None:
        transformer.set_raw_scale(in_, raw_scale)
    if channel_swap is not None:
        transformer.set_channel_swap(in_, channel_swap)
    return transformer
