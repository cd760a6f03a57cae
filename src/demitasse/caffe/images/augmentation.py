"""Changes an image together with its boxes, as SSD does before ``resize_param``: distorted, expanded, cropped."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from demitasse.caffe import schema
from demitasse.caffe.images.annotations import Annotations, Window
from demitasse.caffe.images.colour import bytes_of, require_bytes
from demitasse.caffe.images.distortion import DistortionPolicy
from demitasse.caffe.images.resampling import Array
from demitasse.caffe.images.sampling import WindowSampler
from demitasse.errors import NetError

_SAME = 1e-2  # an expansion by less is none


class AnnotatedImage(NamedTuple):
    """An image (channels, height, width) and its boxes."""

    pixels: Array
    boxes: Annotations


class Augmentation:
    """Applies ``distort_param``, ``expand_param`` and the batch samplers.

    Args:
        transform: the transform_param.
        samplers: the ``batch_sampler`` of annotated_data_param.
        fill: the value of each channel around an expanded image.

    Raises:
        NetError: settings are impossible.

    Reference: Liu et al. 2016 (SSD), section 2.2, "Data augmentation", and section 3.6.
    """

    def __init__(self, transform: schema.TransformationParameter, samplers: WindowSampler, fill: Array) -> None:
        self._samplers, self._fill = samplers, fill
        self._emit = transform.emit_constraint if transform.HasField("emit_constraint") else None
        self._distort = DistortionPolicy(transform.distort_param) if transform.HasField("distort_param") else None
        self._expand = transform.expand_param if transform.HasField("expand_param") else None
        if self._expand is not None and not 1 <= self._expand.max_expand_ratio < np.inf:
            raise NetError(f"max_expand_ratio is {self._expand.max_expand_ratio:g}; expected 1 or more")

    @property
    def emit(self) -> schema.EmitConstraint | None:
        """The condition under which a box is kept."""
        return self._emit

    def __call__(self, image: AnnotatedImage, random: np.random.Generator) -> AnnotatedImage:
        """Returns the changed image.

        Raises:
            DataError: ``distort_param`` needs an image of three channels.
        """
        if self._distort is not None:
            image = image._replace(pixels=self._distort(require_bytes(image.pixels), random))
        image = self._expanded(image, random)
        window = self._samplers.draw(image.boxes.corners, random)
        return image if window is None else self._cropped(image, window.clip(0, 1))

    def _expanded(self, image: AnnotatedImage, random: np.random.Generator) -> AnnotatedImage:
        """Returns the image somewhere in a larger one."""
        param = self._expand
        if param is None or random.random() > param.prob or param.max_expand_ratio - 1 < _SAME:
            return image
        ratio = random.uniform(1, param.max_expand_ratio)
        channels, *size = image.pixels.shape
        whole = [int(side * ratio) for side in size]
        top, left = (int(random.uniform(0, large - side)) for large, side in zip(whole, size, strict=True))
        pixels = np.empty((channels, *whole), image.pixels.dtype)
        fill = bytes_of(self._fill) if pixels.dtype == np.uint8 else self._fill
        pixels[:] = fill.reshape(-1, 1, 1)
        pixels[:, top : top + size[0], left : left + size[1]] = image.pixels
        start = np.array([-left, -top], float)
        window = np.concatenate([start, start + whole[::-1]]) / (size[1], size[0], size[1], size[0])
        return AnnotatedImage(pixels, image.boxes.seen(window, self._emit))

    def _cropped(self, image: AnnotatedImage, window: Window) -> AnnotatedImage:
        """Returns a window of the image; its sides are cut to whole pixels, those of the boxes are not."""
        height, width = image.pixels.shape[1:]
        left, top = int(window[0] * width), int(window[1] * height)
        across, down = max(int((window[2] - window[0]) * width), 1), max(int((window[3] - window[1]) * height), 1)
        pixels = image.pixels[:, top : top + down, left : left + across]
        return AnnotatedImage(pixels, image.boxes.seen(window, self._emit))
