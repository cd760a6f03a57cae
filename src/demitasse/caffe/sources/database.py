"""Data: records of a database, each a Datum with an image and a label."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from google.protobuf.message import DecodeError
from torch import Tensor

from demitasse.caffe import schema
from demitasse.caffe.images import decode
from demitasse.caffe.sources.base import SOURCES, Shape, Source
from demitasse.caffe.sources.lmdb_store import LmdbReader, Record
from demitasse.caffe.transform import Image, Transformer
from demitasse.errors import DataError, NetError


@SOURCES.register("Data")
class Data(Source):
    """Reads records in the order of their keys and wraps round inside a batch.

    The tops are the images after ``transform_param`` and, where there is a second one, the labels. A batch has
    the shape of its first image; so images may differ in size when they are cropped or the batch size is 1.
    """

    deals = True

    def __init__(self, spec: schema.Message, phase: int) -> None:
        param = spec.data_param
        if not param.batch_size:
            raise NetError("data_param needs a batch_size above 0")
        if len(spec.top) > 2:
            raise NetError(f"Data makes an image and a label, but {len(spec.top)} tops are named")
        if param.backend != type(param).LMDB:
            raise DataError(
                f"{param.source}: the backend LEVELDB is not read; make an LMDB of the same images "
                "(convert_imageset or convert_mnist_data with --backend lmdb) and set backend: LMDB"
            )
        self._batch_size = param.batch_size
        self._rand_skip = param.rand_skip
        self._transformer = Transformer(spec.transform_param, phase, param.force_encoded_color)
        self._datum = schema.Datum()
        self._position = 0
        self._records: Iterator[Record] = iter(())
        self._database = LmdbReader(param.source)
        super().__init__(spec, phase)
        key, value = next(self._database.records())
        image = self._output_shape(key, self._decode(key, value)[0])
        shapes: list[Shape] = [(self._batch_size, *image), (self._batch_size,)]
        self.shapes = shapes[: len(spec.top)]

    def seed(self, value: int) -> None:
        super().seed(value)
        self._go_to(int(self.random.integers(self._rand_skip)) if self._rand_skip else 0)

    def read(self) -> list[Tensor]:
        count = self._batch_size * self.ranks
        records = list(islice(self._records, count))[self.rank :: self.ranks]
        decoded = [self._decode(key, value) for key, value in records]
        images = [image for image, _ in decoded]
        self._check_shapes([key for key, _ in records], images)
        self._position = (self._position + count) % len(self._database)
        transformed = self._transformer(images, self.random, self.rank, self.ranks)
        tops = [transformed, np.array([label for _, label in decoded], np.float32)]
        return [torch.from_numpy(top) for top in tops[: len(self.shapes)]]

    def state(self) -> dict[str, Any]:
        return {**super().state(), "position": self._position}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        if not 0 <= state["position"] < len(self._database):
            raise DataError(
                f"{self._database.path}: the state is at record {state['position']}, "
                f"but there are {len(self._database)}"
            )
        self._go_to(state["position"])

    def close(self) -> None:
        self._records = iter(())
        self._database.close()

    def _decode(self, key: bytes, value: bytes) -> tuple[Image, int]:
        datum = self._datum
        try:
            datum.ParseFromString(value)
            return datum_image(datum, self._transformer.color), datum.label
        except (DecodeError, DataError) as error:
            raise DataError(f"{self._place(key)}: not a Datum: {error}") from None

    def _output_shape(self, key: bytes, image: Image) -> Shape:
        try:
            return self._transformer.output_shape(image.shape)
        except DataError as error:
            raise error.within(self._place(key)) from None

    def _check_shapes(self, keys: list[bytes], images: list[Image]) -> None:
        first = self._output_shape(keys[0], images[0])
        for key, image in zip(keys, images, strict=True):
            if image.shape == images[0].shape:
                continue
            shape = self._output_shape(key, image)
            if shape != first:
                raise DataError(
                    f"{self._place(key)}: the image has shape {list(shape)}, but the batch began "
                    f"with {list(first)}; give a crop_size or images of one size"
                )

    def _place(self, key: bytes) -> str:
        return f"{self._database.path}: record {key.decode(errors='backslashreplace')!r}"

    def _go_to(self, position: int) -> None:
        self._position = position % len(self._database)
        self._records = self._database.records(self._position)


def datum_image(datum: schema.Message, color: bool | None = None) -> Image:
    """Returns the image of a Datum, (channels, height, width), uint8 or float32.

    Args:
        datum: raw bytes, floats, or an encoded image.
        color: encoded images to BGR (True) or grey (False); None leaves their channels as they are.

    Raises:
        DataError: the values are not as many as the shape says, or cannot be decoded.
    """
    data = datum.data
    if datum.encoded:
        return decode(data, color)
    shape = (datum.channels, datum.height, datum.width)
    values: Image = np.frombuffer(data, np.uint8) if data else np.array(datum.float_data, np.float32)
    if values.size != math.prod(shape) or min(shape) < 1:
        raise DataError(f"shape {list(shape)} but {values.size} values")
    return values.reshape(shape)
