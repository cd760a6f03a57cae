"""A net that classifies windows of images, after Girshick et al. 2014, "Rich feature hierarchies" (R-CNN)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from demitasse.errors import UsageError
from demitasse.pycaffe.images import load_image, resize_image
from demitasse.pycaffe.net import Net
from demitasse.pycaffe.proto import caffe_pb2
from demitasse.pycaffe.spec_errors import MismatchError
from demitasse.pycaffe.transformer import image_input, image_transformer

Array = NDArray[Any]


class Detector(Net):
    """A net whose first input takes windows of images.

    Args:
        model_file: the net's prototxt.
        pretrained_file: its caffemodel.
        mean: see :class:`~demitasse.pycaffe.classifier.Classifier`.
        input_scale: see there.
        raw_scale: see there.
        channel_swap: see there.
        context_pad: pixels of the input, at each of its borders, that show what is around the window; the mean
            stands for what is outside the image.
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
        """Sets how much of what is around a window is shown, in pixels of the input.

        Raises:
            MismatchError: nothing of the window would be left.
        """
        in_ = self.inputs[0]
        shape = self.blobs[in_].data.shape[1:]
        if context_pad and 2 * context_pad >= min(shape[1:]):
            raise MismatchError(f"context_pad {context_pad} leaves nothing of an input of {shape[1]} x {shape[2]}")
        self.context_pad = context_pad
        # the colour that becomes 0 in the net
        self.crop_mean = self.transformer.deprocess(in_, np.zeros(shape, np.float32))
        self.crop_dims = np.array(self.crop_mean.shape)

    def detect_windows(self, images_windows: Iterable[tuple[str, Iterable[Sequence[int]]]]) -> list[dict[str, Any]]:
        """Returns what the net says of windows, each warped to the size of the input.

        Args:
            images_windows: name of an image file, and its windows (ymin, xmin, ymax, xmax) in pixels.

        Returns:
            A dict for each window: ``filename``, ``window``, ``prediction``.
        """
        in_ = self.inputs[0]
        detections: list[dict[str, Any]] = []
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
        """Proposals of windows came from a MATLAB program, which is not part of this package.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            "selective search is a MATLAB program and not included: give windows of your own to detect_windows"
        )

    def crop(self, im: Array, window: Sequence[int]) -> Array:
        """Returns a window of an image, with what is around it where ``context_pad`` is set.

        Args:
            im: (height, width, channels).
            window: ymin, xmin, ymax, xmax in pixels, the last two excluded.

        Raises:
            MismatchError: no pixel of the image is in the window.
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
        raise MismatchError(f"window {[*map(int, window)]} holds no pixel of an image of shape {image.shape}")
    return piece
