"""Classifier: a net that classifies images."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np

from demitasse.caffe.models.blobs import Array
from demitasse.pycaffe.images import oversample as ten_pieces
from demitasse.pycaffe.images import resize_image
from demitasse.pycaffe.net import Net
from demitasse.pycaffe.proto import caffe_pb2
from demitasse.pycaffe.spec_errors import MismatchError
from demitasse.pycaffe.transformer import image_input, image_transformer


class Classifier(Net):
    """A net whose first input is images and whose first output is their classes.

    Args:
        model_file: the net's prototxt.
        pretrained_file: its caffemodel.
        image_dims: (height, width) to resize images to before they are cropped to the input; by default the size
            of the input.
        mean: the mean to subtract; see :meth:`~demitasse.pycaffe.transformer.Transformer.set_mean`.
        input_scale: factor applied after subtracting the mean.
        raw_scale: factor applied before subtracting the mean; 255 for most nets.
        channel_swap: order of the channels; (2, 1, 0) for nets that were trained on BGR.

    Raises:
        MismatchError: the input of the net is not images, or is larger than ``image_dims``.
    """

    def __init__(
        self,
        model_file: str | PathLike[str],
        pretrained_file: str | PathLike[str],
        image_dims: Sequence[int] | None = None,
        mean: Array | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(str(model_file), caffe_pb2.TEST, weights=str(pretrained_file))
        in_, shape = image_input(self)
        self.transformer = image_transformer(in_, shape, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else np.array(image_dims)
        if self.image_dims.shape != (2,) or (self.image_dims < self.crop_dims).any():
            raise MismatchError(f"image_dims is {image_dims}; expected (height, width) of at least {shape[2:]}")

    def predict(self, inputs: Sequence[Array], oversample: bool = True) -> Array:
        """Returns the predictions for images.

        Args:
            inputs: (height, width, channels) each, as :func:`~demitasse.pycaffe.io.load_image` returns them.
            oversample: whether to average over ten crops (corners, centre and their mirror images); otherwise only
                the centre crop is used.

        Returns:
            (images, classes).

        Raises:
            MismatchError: there are no images, or an image has other channels than the net's input.
        """
        in_ = self.inputs[0]
        channels = self.blobs[in_].data.shape[1]
        wrong = [image.shape for image in inputs if image.ndim != 3 or image.shape[2] != channels]
        if wrong or not len(inputs):
            found = f"an image of shape {wrong[0]}" if wrong else "no images"
            raise MismatchError(f"found {found}; input {in_!r} expects images (height, width, {channels})")
        images = [resize_image(image, self.image_dims) for image in inputs]
        pieces = ten_pieces(images, self.crop_dims) if oversample else [self._centre(image) for image in images]
        predictions = self.compute(np.stack([self.transformer.preprocess(in_, piece) for piece in pieces]))
        if oversample:
            predictions = predictions.reshape(len(images), 10, -1).mean(1)
        return predictions

    def compute(self, prepared: Array) -> Array:
        """Returns the predictions for prepared images, (n, channels, height, width)."""
        return self.forward_all(None, **{self.inputs[0]: prepared})[self.outputs[0]]

    def _centre(self, image: Array) -> Array:
        (height, width), (top, left) = self.crop_dims, (self.image_dims - self.crop_dims) // 2
        return image[top : top + height, left : left + width]
