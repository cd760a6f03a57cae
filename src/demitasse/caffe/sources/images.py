"""Base of Data and ImageData: batches of transformed images, each with a label."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.images.transform import ImageTransform, Windowed
from demitasse.caffe.sources.base import Shape
from demitasse.caffe.sources.order import OrderedSource
from demitasse.errors import DataError, NetError

Item = TypeVar("Item")


class BatchPlan(NamedTuple, Generic[Item]):
    """The items of this process in a batch, and the seed for the crops and mirrors of all items."""

    seed: int
    items: list[Item]


class ImageSource(OrderedSource[BatchPlan[Item]], Generic[Item]):
    """The first top is the images after ``transform_param``; the optional second one is the labels.

    A batch has the shape of its first image, so images may differ in size only if they are cropped or the batch size
    is 1. All processes of a run make the same plans, and each keeps its own items. A subclass defines the sequence of
    items, and how an item is decoded.

    Args:
        spec: the layer.
        phase: ``schema.TRAIN`` or ``schema.TEST``.
        batch_size: the number of images per batch.
        force_color: whether to decode in colour, in addition to the setting in ``transform_param``.
    """

    splits_by_rank = True

    @abstractmethod
    def __init__(self, spec: schema.LayerParameter, phase: int, batch_size: int, force_color: bool = False) -> None:
        if not batch_size:
            raise NetError(f"{spec.type} needs a batch_size above 0")
        if len(spec.top) > 2:
            raise NetError(f"{spec.type} makes an image and a label, but {len(spec.top)} tops are named")
        self._transformer = ImageTransform(spec.transform_param, phase, force_color)
        super().__init__(spec, phase)
        (first,) = self.next_items(1)
        self.seed(0)
        image = self._output_shape(first, self.decode(first)[0])
        shapes: list[Shape] = [(batch_size, *image), (batch_size,)]
        self.shapes = shapes[: len(spec.top)]

    @abstractmethod
    def next_items(self, count: int) -> list[Item]:
        """Returns the next ``count`` items, wrapping around at the end of the data."""

    @abstractmethod
    def decode(self, item: Item) -> tuple[Windowed, int]:
        """Returns the image of an item and its label; called in any thread.

        Raises:
            DataError: the image cannot be decoded.
        """

    @abstractmethod
    def describe_item(self, item: Item) -> str:
        """Returns the place of an item, for messages."""

    @override
    def plan_batch(self) -> BatchPlan[Item]:
        seed = int(self.random.integers(2**63)) if self._transformer.draws else 0
        items = self.next_items(self.shapes[0][0] * self.ranks)
        return BatchPlan(seed, items[self.rank :: self.ranks])

    @override
    def make_batch(self, plan: BatchPlan[Item]) -> list[Tensor]:
        labels: list[int] = []
        random = np.random.default_rng(plan.seed)
        images = self._decoded(plan, labels)
        batch = self._transformer(images, len(plan.items), random, self.rank, self.ranks)
        tops = [batch, np.array(labels, np.float32)]
        return [torch.from_numpy(top) for top in tops[: len(self.shapes)]]

    def _decoded(self, plan: BatchPlan[Item], labels: list[int]) -> Iterator[Windowed]:
        """Yields the prepared images, and appends their labels; all images must have the same shape in the net."""
        whole: Shape = ()
        first: Shape = ()
        for number, item in enumerate(plan.items):
            image, label = self.decode(item)
            if image.shape != whole:
                shape = self._output_shape(item, image)
                first = first or shape
                if shape != first:
                    raise DataError(
                        f"{self.describe_item(item)}: the image has shape {list(shape)}, but the first of the batch "
                        f"has {list(first)}; set crop_size, or use images of the same size"
                    )
                whole = image.shape
            labels.append(label)
            yield self._prepared(item, image, (plan.seed, self.rank + number * self.ranks))

    def _prepared(self, item: Item, image: Windowed, seed: tuple[int, int]) -> Windowed:
        if not self._transformer.prepares:
            return image
        try:
            return self._transformer.prepare(image, np.random.default_rng(seed))
        except DataError as error:
            raise error.within(self.describe_item(item)) from error

    def _output_shape(self, item: Item, image: Windowed) -> Shape:
        try:
            return self._transformer.output_shape(image.shape)
        except DataError as error:
            raise error.within(self.describe_item(item)) from error
