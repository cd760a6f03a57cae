"""Data: reads records of a database, each a Datum with an image and a label."""

from __future__ import annotations

import math

import numpy as np
from google.protobuf.message import DecodeError
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.images.transform import Image
from demitasse.caffe.sources.base import SOURCES
from demitasse.caffe.sources.cursor import DatabaseCursor
from demitasse.caffe.sources.images import ImageSource
from demitasse.caffe.sources.store import Record
from demitasse.errors import DataError


@SOURCES.register("Data")
class Data(ImageSource[Record]):
    """Reads records of an LMDB or a LevelDB in the order of their keys; a batch may wrap around to the first record."""

    order: DatabaseCursor

    def __init__(self, spec: schema.LayerParameter, phase: int) -> None:
        param = spec.data_param
        self.order = DatabaseCursor(param)
        super().__init__(spec, phase, param.batch_size, param.force_encoded_color)

    @override
    def next_items(self, count: int) -> list[Record]:
        return self.order.next_records(count)

    @override
    def decode(self, item: Record) -> tuple[Image, int]:
        try:
            datum = schema.Datum.FromString(item[1])
            return datum_image(datum, self._transformer.color), datum.label
        except (DecodeError, DataError) as error:
            raise DataError(f"{self.describe_item(item)}: not a Datum: {error}") from error

    @override
    def describe_item(self, item: Record) -> str:
        return self.order.describe(item)


def datum_image(datum: schema.Datum, color: bool | None = None) -> Image:
    """Returns the image of a Datum, (channels, height, width), uint8 or float32.

    Args:
        datum: a Datum with raw bytes, floats, or an encoded image.
        color: decode encoded images to BGR (True) or grey (False); None keeps their channels.

    Raises:
        DataError: the number of values does not match the shape, or the image cannot be decoded.
        MissingPackageError: the image is encoded and Pillow is not installed.
    """
    data = datum.data
    if datum.encoded:
        from demitasse.caffe.images.codec import decode

        return decode(data, color)
    shape = (datum.channels, datum.height, datum.width)
    values: Image = np.frombuffer(data, np.uint8) if data else np.array(datum.float_data, np.float32)
    if values.size != math.prod(shape) or min(shape) < 1:
        raise DataError(f"found {values.size} values for shape {list(shape)}")
    return values.reshape(shape)
