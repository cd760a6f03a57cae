"""What Data and ImageData share: batches of images with a label each, transformed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.images.transform import ImageTransform, Windowed
from demitasse.caffe.sources.ahead import AheadSource
from demitasse.caffe.sources.base import Shape
from demitasse.errors import DataError, NetError


class BatchPlan(NamedTuple):
    """This process's items of a batch, and the seed of the crops and mirrors of all."""

    seed: int
    items: list[Any]


class ImageSource(AheadSource):
    """The tops are the images after ``transform_param`` and, where there is a second one, the labels.

    A batch has the shape of its first image; so images may differ in size when they are cropped or the batch size
    is 1. All processes of a run plan alike, and each keeps its own items. A subclass says which items come next and
    how one of them is decoded.

    Args:
        spec: the layer.
        phase: ``schema.TRAIN`` or ``schema.TEST``.
        batch_size: images a batch.
        force_color: a wish for colour beside that of ``transform_param``.
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
    def next_items(self, count: int) -> list[Any]:
        """Returns the next so many items, round and round."""

    @abstractmethod
    def decode(self, item: Any) -> tuple[Windowed, int]:
        """Returns the image of an item and its label; runs in any thread.

        Raises:
            DataError: it cannot be decoded.
        """

    @abstractmethod
    def describe_item(self, item: Any) -> str:
        """Returns where an item stands, for messages."""

    @override
    def plan_batch(self) -> BatchPlan:
        seed = int(self.random.integers(2**63)) if self._transformer.draws else 0
        items = self.next_items(self.shapes[0][0] * self.ranks)
        return BatchPlan(seed, items[self.rank :: self.ranks])

    @override
    def make_batch(self, plan: BatchPlan) -> list[Tensor]:
        labels: list[int] = []
        random = np.random.default_rng(plan.seed)
        batch = self._transformer(self._decoded(plan.items, labels), len(plan.items), random, self.rank, self.ranks)
        tops = [batch, np.array(labels, np.float32)]
        return [torch.from_numpy(top) for top in tops[: len(self.shapes)]]

    def _decoded(self, items: list[Any], labels: list[int]) -> Iterator[Windowed]:
        """Decodes one item after the other and notes its label; all must be of one shape in the net."""
        whole: Shape = ()
        first: Shape = ()
        for item in items:
            image, label = self.decode(item)
            if image.shape != whole:
                shape = self._output_shape(item, image)
                first = first or shape
                if shape != first:
                    raise DataError(
                        f"{self.describe_item(item)}: the image has shape {list(shape)}, but the batch began "
                        f"with {list(first)}; give a crop_size or images of one size"
                    )
                whole = image.shape
            labels.append(label)
            yield image

    def _output_shape(self, item: Any, image: Windowed) -> Shape:
        try:
            return self._transformer.output_shape(image.shape)
        except DataError as error:
            raise error.within(self.describe_item(item)) from error
