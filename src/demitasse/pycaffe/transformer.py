"""From images to the inputs of a net, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demitasse.pycaffe.images import resize_image
from demitasse.pycaffe.spec_errors import MismatchError

Array = NDArray[Any]


class Transformer:
    """Makes of an image (height, width, channels) what an input of a net expects, in this order.

    Resized to the input, axes transposed, channels swapped, times ``raw_scale``, minus the mean, times
    ``input_scale``. What is not set is left out.

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
            raise MismatchError(f"{in_!r} is not one of the net inputs: {self.inputs}")
        return self.inputs[in_]

    def preprocess(self, in_: str, data: Array) -> Array:
        """Returns ``data`` (height, width, channels) as the input wants it, float32; ``data`` stays as it is.

        Raises:
            MismatchError: the net has no such input, or the image does not fit what was set.
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
        """Returns the image (height, width, channels) that ``preprocess`` makes ``data`` of, but for its size."""
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
            MismatchError: not as many axes as the input has without its batch.
        """
        axes = len(self._shape(in_)) - 1
        if len(order) != axes:
            raise MismatchError(f"transpose order {tuple(order)} has {len(order)} dimensions, input {in_!r} has {axes}")
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Sets the order of channels, the first axis after the transpose: (2, 1, 0) makes BGR of RGB.

        Raises:
            MismatchError: not as many as the input has channels.
        """
        channels = self._shape(in_)[1]
        if len(order) != channels:
            raise MismatchError(f"channel swap {tuple(order)} is of {len(order)}, input {in_!r} has {channels}")
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Sets what pixels are multiplied by before the mean is taken off: 255 for most nets."""
        self._shape(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: Array) -> None:
        """Sets what is taken off.

        Args:
            in_: the input.
            mean: (channels,), (height, width) or (channels, height, width); resized where it is of another size.

        Raises:
            MismatchError: other axes, or another number of channels.
        """
        channels, *size = self._shape(in_)[1:]
        mean = np.asarray(mean)
        if mean.ndim == 1:
            if len(mean) != channels:
                raise MismatchError(f"mean channels incompatible with input {in_!r}: {len(mean)}, not {channels}")
            mean = mean[:, None, None]
        elif mean.ndim not in (2, 3):
            raise MismatchError(f"mean shape invalid: {mean.shape}, expected (channels, height, width) or (channels,)")
        else:
            mean = self._fitted(mean.reshape(-1, *mean.shape[-2:]), channels, size)
        self.mean[in_] = mean

    def _fitted(self, mean: Array, channels: int, size: Sequence[int]) -> Array:
        if len(mean) not in (1, channels):
            raise MismatchError(f"mean of {len(mean)} channels is incompatible with an input of {channels}")
        if mean.shape[1:] == tuple(size):
            return mean
        return resize_image(mean.transpose(1, 2, 0), size).transpose(2, 0, 1)

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Sets what is multiplied by at the end, after the mean is taken off."""
        self._shape(in_)
        self.input_scale[in_] = scale


def image_input(net: Any) -> tuple[str, tuple[int, ...]]:
    """Returns name and shape of the first input of a net.

    Raises:
        MismatchError: it has none, or one that does not take images.
    """
    for name in net.inputs[:1]:
        shape = tuple(net.blobs[name].data.shape)
        if len(shape) == 4:
            return name, shape
        raise MismatchError(f"input {name!r} takes no images (batch, channels, height, width) but {shape}")
    raise MismatchError("the net has no input: give the prototxt for deployment, with an Input layer")


def image_transformer(
    in_: str,
    shape: Sequence[int],
    mean: Array | None = None,
    input_scale: float | None = None,
    raw_scale: float | None = None,
    channel_swap: Sequence[int] | None = None,
) -> Transformer:
    """Returns a transformer of one input that puts channels first and does what is given."""
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
