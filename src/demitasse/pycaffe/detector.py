"""Detector: a net that classifies windows of images, after Girshick et al. 2014, "Rich feature hierarchies" (R-CNN)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import NoReturn

import numpy as np

from demitasse.caffe.models.blobs import Array
from demitasse.errors import UsageError
from demitasse.pycaffe.images import load_image, resize_image
from demitasse.pycaffe.net import Net
from demitasse.pycaffe.proto import caffe_pb2
from demitasse.pycaffe.spec_errors import MismatchError
from demitasse.pycaffe.transformer import image_input, image_transformer
from demitasse.pycaffe.windows import Detection


class Detector(Net):
    """A net whose first input is windows of images.

    Args:
        model_file: the net's prototxt.
        pretrained_file: its caffemodel.
        mean: see :class:`~demitasse.pycaffe.classifier.Classifier`.
        input_scale: see there.
        raw_scale: see there.
        channel_swap: see there.
        context_pad: pixels of context around the window, at each border of the input; the mean replaces pixels
            outside the image.
    """

    def __init__(
        self,
        model_file: str | PathLike[str],
        pretrained_file: str | PathLike[str],
        mean: Array | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ) -> None:
        super().__init__(str(model_file), caffe_pb2.TEST, weights=str(pretrained_file))
        in_, shape = image_input(self)
        self.transformer = image_transformer(in_, shape, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def configure_crop(self, context_pad: int | None) -> None:
        """Sets the context around a window, in pixels of the input.

        Raises:
            MismatchError: the context would leave no room for the window.
        """
        in_ = self.inputs[0]
        shape = self.blobs[in_].data.shape[1:]
        if context_pad and 2 * context_pad >= min(shape[1:]):
            raise MismatchError(
                f"context_pad is {context_pad}; expected less than half of the input's size {shape[1]} x {shape[2]}"
            )
        self.context_pad = context_pad
        # the colour that becomes 0 in the net
        self.crop_mean = self.transformer.deprocess(in_, np.zeros(shape, np.float32))
        self.crop_dims = np.array(self.crop_mean.shape)

    def detect_windows(self, images_windows: Iterable[tuple[str, Iterable[Sequence[int]]]]) -> list[Detection]:
        """Returns the predictions for windows, each warped to the size of the input.

        Args:
            images_windows: pairs of the name of an image file and its windows (ymin, xmin, ymax, xmax) in pixels.

        Returns:
            A dictionary for each window, with ``filename``, ``window`` and ``prediction``.
        """
        in_ = self.inputs[0]
        detections: list[Detection] = []
        prepared = []
        for filename, windows in images_windows:
            image = load_image(filename, color=self.crop_dims[2] != 1)
            for window in windows:
                detections.append({"window": window, "filename": filename})
                prepared.append(self.transformer.preprocess(in_, self.crop(image, window)))
        if prepared:
            predictions = self.forward_all(None, **{in_: np.stack(prepared)})[self.outputs[0]]
            for detection, prediction in zip(detections, predictions, strict=True):
                detection["prediction"] = prediction
        return detections

    def detect_selective_search(self, image_fnames: Sequence[str]) -> NoReturn:
        """Raises an error, because the proposals came from a MATLAB program, which is not part of this package.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            "selective search is a MATLAB program and not included; pass your own windows to detect_windows"
        )

    def crop(self, im: Array, window: Sequence[int]) -> Array:
        """Returns a window of an image, with its context if ``context_pad`` is set.

        Args:
            im: (height, width, channels).
            window: ymin, xmin, ymax, xmax in pixels, the last two exclusive.

        Raises:
            MismatchError: the window contains no pixel of the image.
        """
        top_left, bottom_right = np.array(window, int).reshape(2, 2)
        if not self.context_pad:
            return _cut(im, top_left, bottom_right, window)
        size = self.crop_dims[:2]
        half = (bottom_right - top_left + 1) / 2
        reach = size / (size - 2 * self.context_pad) * half
        first, last = (top_left + half - reach).round(), (top_left + half + reach).round()
        ratio = size / (last - first + 1)
        begin = (np.maximum(0, -first) * ratio).round().astype(int)
        low, high = first.clip(0, im.shape[:2]).astype(int), last.clip(0, im.shape[:2]).astype(int)
        space = np.minimum(((high - low + 1) * ratio).round().astype(int), size - begin)
        end = begin + space
        crop = np.ones(self.crop_dims, np.float32) * self.crop_mean
        crop[begin[0] : end[0], begin[1] : end[1]] = resize_image(_cut(im, low, high, window), space)
        return crop


def _cut(image: Array, low: Array, high: Array, window: Sequence[int]) -> Array:
    piece = image[max(low[0], 0) : max(high[0], 0), max(low[1], 0) : max(high[1], 0)]
    if not piece.size:
        raise MismatchError(f"window {[*map(int, window)]} contains no pixel of an image of shape {image.shape}")
    return piece
