"""ImageSegData and DenseImageData: lists of images, each with an image of the classes of its pixels."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.images.image_list import ImagePair, read_pair_list
from demitasse.caffe.images.pairs import Image, PairTransform
from demitasse.caffe.list_file import read_regular, shown
from demitasse.caffe.sources.base import SOURCES, Shape
from demitasse.caffe.sources.listed import ListOrder
from demitasse.caffe.sources.order import OrderedSource
from demitasse.errors import DataError, NetError

if TYPE_CHECKING:
    from demitasse.caffe.images.label_image import Labels

Settings = schema.ImageDataParameter | schema.DenseImageDataParameter

_WHOLE = re.compile(r"-?\d{1,9}")


class SegmentationPlan(NamedTuple):
    """The pairs of this process in a batch, and for each a seed of what is random in it."""

    pairs: list[ImagePair]
    seeds: list[int]


class SegmentationSource(OrderedSource[SegmentationPlan]):
    """Base of sources of images and classes.

    Tops: images (n, channels, height, width), and the classes of their pixels (n, 1, height, width).

    Args:
        spec: the layer.
        param: its settings.
        transform: what images and classes go through.
        labelled: whether the lines of the list have labels.
    """

    order: ListOrder[ImagePair]

    splits_by_rank = True

    @abstractmethod
    def __init__(
        self, spec: schema.LayerParameter, phase: int, param: Settings, transform: PairTransform, labelled: bool
    ) -> None:
        if not param.batch_size:
            raise NetError(f"{spec.type} needs a batch_size above 0")
        if bool(param.new_height) != bool(param.new_width):
            raise NetError(f"new_height is {param.new_height} and new_width {param.new_width}; give both or neither")
        self._param, self._transform = param, transform
        pairs = read_pair_list(param.source, labelled)
        self.order = ListOrder(pairs, param.source, param.shuffle, param.rand_skip)
        super().__init__(spec, phase)
        self.seed(0)
        (first,) = self.order.next_entries(1, self.random)
        self.seed(0)
        self.shapes = self._shapes(first, param.batch_size)[: len(spec.top)]

    @abstractmethod
    def read_labels(self, pair: ImagePair, image: Image) -> Labels:
        """Returns the classes of an image, (height, width), in the size that the net takes."""

    def further_tops(self, image: Image) -> list[Tensor]:
        """Returns what tops after the second have for an image."""
        return []

    def _shapes(self, pair: ImagePair, count: int) -> list[Shape]:
        image, labels = self._read(pair)
        try:
            self._transform.output_shape(image.shape)
        except DataError as error:
            raise error.within(self.describe(pair)) from error
        made = self._transform(image, labels, np.random.default_rng(0))
        shapes = [made.image.shape, made.labels.shape, *(tuple(top.shape) for top in self.further_tops(image))]
        return [(count, *shape) for shape in shapes]

    @override
    def plan_batch(self) -> SegmentationPlan:
        count = self._param.batch_size * self.ranks
        pairs = self.order.next_entries(count, self.random)
        seeds = self.random.integers(2**63, size=count).tolist()
        own = slice(self.rank, None, self.ranks)
        return SegmentationPlan(pairs[own], seeds[own])

    @override
    def make_batch(self, plan: SegmentationPlan) -> list[Tensor]:
        items: list[list[Tensor]] = []
        for pair, seed in zip(plan.pairs, plan.seeds, strict=True):
            image, labels = self._read(pair)
            made = self._transform(image, labels, np.random.default_rng(seed))
            items.append([torch.from_numpy(np.array(plane, order="C")) for plane in made] + self.further_tops(image))
            if items[-1][0].shape != items[0][0].shape:
                raise DataError(
                    f"{self.describe(pair)}: the image has shape {list(made.image.shape)}, but the first of the batch "
                    f"has {list(items[0][0].shape)}; set a crop, or new_height and new_width"
                )
        return [torch.stack(top) for top in zip(*items, strict=True)][: len(self.shapes)]

    def _read(self, pair: ImagePair) -> tuple[Image, Labels]:
        from demitasse.caffe.images.codec import decode, resize

        param = self._param
        content = read_regular(param.root_folder + pair.image)
        try:
            image = decode(content, param.is_color)
        except DataError as error:
            raise error.within(self.describe(pair)) from error
        if param.new_height:
            image = resize(image, param.new_height, param.new_width)
        return image, self.read_labels(pair, image)

    def read_label_image(self, pair: ImagePair, height: int, width: int) -> Labels:
        """Returns the classes in a label image; it is resized if the layer resizes images.

        Raises:
            DataError: it cannot be read, or has another size.
        """
        from demitasse.caffe.images.label_image import decode_labels, resize_nearest

        place = shown(f"{self._param.root_folder}{pair.label}")
        content = read_regular(self._param.root_folder + pair.label)
        try:
            labels = decode_labels(content)
        except DataError as error:
            raise error.within(place) from error
        if self._param.new_height:
            labels = resize_nearest(labels, height, width)
        if labels.shape != (height, width):
            raise DataError(
                f"{place}: the label image has {labels.shape[0]} x {labels.shape[1]} pixels; "
                f"expected {height} x {width}"
            )
        return labels

    def describe(self, pair: ImagePair) -> str:
        """Returns the file of an image, for messages."""
        return shown(f"{self._param.root_folder}{pair.image}")


@SOURCES.register("ImageSegData")
class ImageSegData(SegmentationSource):
    """DeepLab's and PSPNet's images with classes.

    By ``label_type``, a line of the list has an image and a label image (PIXEL), an image and one class for all of its
    pixels (IMAGE, the default), or an image alone, whose pixels are all ``ignore_label`` (NONE); ``has_label: true`` is
    PIXEL, and false is NONE. A third top has height and width of the images, at most those of the crop, (n, 1, 1, 2).
    """

    def __init__(self, spec: schema.LayerParameter, phase: int) -> None:
        param = spec.image_data_param
        if not 2 <= len(spec.top) <= 3:
            raise NetError(f"ImageSegData has two or three tops, image, labels and size; found {len(spec.top)}")
        transform = PairTransform(spec.transform_param, phase, param.ignore_label)
        self._kind, self._ignored = param.LabelType.Name(param.label_type), param.ignore_label
        if param.HasField("has_label"):
            self._kind = "PIXEL" if param.has_label else "NONE"
        super().__init__(spec, phase, param, transform, labelled=self._kind != "NONE")

    @override
    def read_labels(self, pair: ImagePair, image: Image) -> Labels:
        height, width = image.shape[1:]
        if self._kind == "PIXEL":
            return self.read_label_image(pair, height, width)
        if self._kind == "IMAGE" and not _WHOLE.fullmatch(pair.label):
            raise DataError(
                f"{self.describe(pair)}: the label is {pair.label!r}; expected a whole number. "
                "For label images, set label_type: PIXEL"
            )
        return np.full(image.shape[1:], int(pair.label or self._ignored), np.int32)

    @override
    def further_tops(self, image: Image) -> list[Tensor]:
        _, height, width = self._transform.output_shape(image.shape)
        sizes = [min(height, image.shape[1]), min(width, image.shape[2])]
        return [torch.tensor(sizes, dtype=torch.float32).reshape(1, 1, 2)]


@SOURCES.register("DenseImageData")
class DenseImageData(SegmentationSource):
    """SegNet's images, each with a label image.

    With ENet's ``label_divide_factor``, label images are made smaller than the images by that factor.
    """

    def __init__(self, spec: schema.LayerParameter, phase: int) -> None:
        param = spec.dense_image_data_param
        if len(spec.top) != 2:
            raise NetError(f"DenseImageData has two tops, image and labels; found {len(spec.top)}")
        settings = schema.TransformationParameter.FromString(spec.transform_param.SerializeToString())
        settings.mirror = param.mirror or settings.mirror
        transform = PairTransform(settings, phase, ignore_label=255)
        self._factor = param.label_divide_factor
        if not self._factor or (self._factor > 1 and (transform.crop[0] or not param.new_height)):
            raise NetError(
                f"label_divide_factor is {self._factor}; expected 1, or more with new_height and new_width and no crop"
            )
        super().__init__(spec, phase, param, transform, labelled=True)

    @override
    def read_labels(self, pair: ImagePair, image: Image) -> Labels:
        return self.read_label_image(pair, image.shape[1] // self._factor, image.shape[2] // self._factor)
