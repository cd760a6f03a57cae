"""AnnotatedData: reads images with boxes from a database, for training detectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.images.annotations import Annotations
from demitasse.caffe.images.augmentation import AnnotatedImage, Augmentation
from demitasse.caffe.images.box_resizing import FIT_SMALL, extrapolated, resized_boxes
from demitasse.caffe.images.sampling import WindowSampler
from demitasse.caffe.images.transform import Image, ImageTransform
from demitasse.caffe.sources.base import SOURCES, Shape
from demitasse.caffe.sources.cursor import DatabaseCursor
from demitasse.caffe.sources.database import datum_image
from demitasse.caffe.sources.order import OrderedSource
from demitasse.caffe.sources.store import Record
from demitasse.errors import DataError, NetError

_COLUMNS = 8  # item, label, instance, xmin, ymin, xmax, ymax, difficult


class AnnotatedPlan(NamedTuple):
    """The records of this process in a batch, and the seed for the transformations of all records."""

    seed: int
    records: list[Record]


class _PreparedItem(NamedTuple):
    """An image before its crop, the draws for it, and its boxes after it."""

    pixels: Image
    boxes: Annotations
    mirror: bool
    place: tuple[float, float]
    label: int


@SOURCES.register("AnnotatedData")
class AnnotatedData(OrderedSource[AnnotatedPlan]):
    """The first top is the images, the second their boxes, (1, 1, boxes, 8), or a row of -1 if there are none.

    A row has the item, the label, the instance, xmin, ymin, xmax, ymax in fractions of the image, and whether it is
    difficult. Images are distorted, expanded, and cropped by the batch samplers, with their boxes; then transformed by
    ``transform_param`` as those of Data are. All images of a batch need the same size in the end. Records without boxes
    by their type have a label, as those of Data. The number of boxes differs from batch to batch; ``shapes`` has that
    of the first record.

    All processes of a run make the same plans, and each keeps its own records.

    Reference: Liu et al. 2016 (SSD), section 2.2, "Data augmentation".
    """

    order: DatabaseCursor

    splits_by_rank = True

    def __init__(self, spec: schema.LayerParameter, phase: int) -> None:
        param, transform, annotated = spec.data_param, spec.transform_param, spec.annotated_data_param
        if not param.batch_size:
            raise NetError("AnnotatedData needs a batch_size above 0")
        if len(spec.top) > 2:
            raise NetError(f"AnnotatedData makes images and boxes, but {len(spec.top)} tops are named")
        resize = transform.resize_param if transform.HasField("resize_param") else None
        if resize is not None and resize.resize_mode == FIT_SMALL and param.batch_size != 1:
            raise NetError(f"FIT_SMALL_SIZE needs a batch_size of 1, found {param.batch_size}")
        self._resize, self._count = resize, param.batch_size
        self._transformer = ImageTransform(transform, phase, param.force_encoded_color, has_boxes=True)
        samplers = WindowSampler(annotated.batch_sampler)
        self._augmentation = Augmentation(transform, samplers, self._transformer.means)
        self._given_type = annotated.HasField("anno_type")
        self._has_boxes = self._given_type
        self.order = DatabaseCursor(param)
        super().__init__(spec, phase)
        (first,) = self.order.next_records(1)
        datum, image = self._read(first)
        self._has_boxes = datum.HasField("type") or self._given_type
        try:
            shape = self._transformer.output_shape(image.pixels.shape)
        except DataError as error:
            raise error.within(self.order.describe(first)) from error
        boxes = (1, 1, max(len(image.boxes.label), 1), _COLUMNS)
        shapes: list[Shape] = [(param.batch_size, *shape), boxes if self._has_boxes else (param.batch_size,)]
        self.shapes = shapes[: len(spec.top)]
        self.seed(0)

    def _read(self, record: Record) -> tuple[schema.AnnotatedDatum, AnnotatedImage]:
        try:
            datum = schema.AnnotatedDatum.FromString(record[1])
            if self._has_boxes and not (datum.HasField("type") or self._given_type):
                raise DataError("the record has no type, but the first one has")
            pixels = datum_image(datum.datum, self._transformer.color)
            return datum, AnnotatedImage(pixels, Annotations.of(datum))
        except (DecodeError, DataError) as error:
            raise DataError(f"{self.order.describe(record)}: not an AnnotatedDatum: {error}") from error

    @override
    def plan_batch(self) -> AnnotatedPlan:
        seed = int(self.random.integers(2**63))
        records = self.order.next_records(self._count * self.ranks)
        return AnnotatedPlan(seed, records[self.rank :: self.ranks])

    @override
    def make_batch(self, plan: AnnotatedPlan) -> list[Tensor]:
        items = [self._prepared(record, plan, number) for number, record in enumerate(plan.records)]
        shape = self._transformer.crop_shape(items[0].pixels.shape)
        batch = np.empty((len(items), *shape), np.float32)
        for number, item in enumerate(items):
            found = self._transformer.crop_shape(item.pixels.shape)
            if found != shape:
                raise DataError(
                    f"{self.order.describe(plan.records[number])}: the image has shape {list(found)}, but the first "
                    f"of the batch has {list(shape)}; set resize_param, or use images of the same size"
                )
            self._transformer.fill(batch[number : number + 1], [item.pixels], [item.mirror], [item.place])
        tops = [batch, self._second_top(items)]
        return [torch.from_numpy(top) for top in tops[: len(self.shapes)]]

    def _second_top(self, items: list[_PreparedItem]) -> NDArray[np.float32]:
        """Returns the boxes, or the labels of records without boxes."""
        if not self._has_boxes:
            return np.array([item.label for item in items], np.float32)
        rows = np.concatenate([item.boxes.rows(number) for number, item in enumerate(items)])
        return (rows if len(rows) else np.full((1, _COLUMNS), -1, np.float32))[None, None]

    def _prepared(self, record: Record, plan: AnnotatedPlan, number: int) -> _PreparedItem:
        """Returns an item before its crop, whose boxes are those after it."""
        random = np.random.default_rng((plan.seed, self.rank + number * self.ranks))
        datum, image = self._read(record)
        try:
            image = self._augmentation(image, random)
            pixels = self._transformer.prepare(image.pixels, random)
            (mirror,), (place,) = self._transformer.draw(1, slice(None), random)
            self._transformer.crop_shape(pixels.shape)
            boxes = self._followed(image, pixels.shape, mirror, place)
        except DataError as error:
            raise error.within(self.order.describe(record)) from error
        return _PreparedItem(pixels, boxes, mirror, place, datum.datum.label)

    def _followed(self, image: AnnotatedImage, shape: Shape, mirror: bool, place: tuple[float, float]) -> Annotations:
        """Returns the boxes of an image after it has been resized to a shape, cropped and mirrored."""
        size = (image.pixels.shape[1], image.pixels.shape[2])
        _, down, across = self._transformer.window(shape, place)
        window = np.array([across.start, down.start, across.stop, down.stop]) / np.tile([shape[2], shape[1]], 2)
        boxes = image.boxes
        if self._resize is not None:
            boxes = boxes._replace(corners=resized_boxes(boxes.corners, size, self._resize))
        boxes = boxes.seen(window, self._augmentation.emit)
        boxes = boxes.mirrored() if mirror else boxes
        if self._resize is not None:
            boxes = boxes._replace(corners=extrapolated(boxes.corners, size, self._resize, window))
        return boxes
