"""Converts blobs and images to messages, and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from demitasse.caffe.models.blobs import Array as Array
from demitasse.pycaffe.proto import caffe_pb2
from demitasse.pycaffe.proto.caffe_pb2 import Message
from demitasse.pycaffe.spec_errors import MismatchError

_LEGACY_SHAPE = ("num", "channels", "height", "width")


def blobproto_to_array(blob: Message, return_diff: bool = False) -> Array:
    """Returns the numbers of a BlobProto in its shape.

    Args:
        blob: the BlobProto, with ``shape`` or the four fields of old files; without a shape, it is one number.
        return_diff: whether to return gradients instead of values.

    Raises:
        MismatchError: the number of values does not match the shape.
    """
    field = "diff" if return_diff else "data"
    values = np.array(getattr(blob, f"double_{field}") or getattr(blob, field))
    if any(blob.HasField(name) for name in _LEGACY_SHAPE):
        shape = tuple(getattr(blob, name) for name in _LEGACY_SHAPE)
    else:
        shape = tuple(blob.shape.dim)
    return _shaped(values, shape, f"BlobProto.{field}")


def _shaped(values: Array, shape: Sequence[int], place: str) -> Array:
    if any(size < 0 for size in shape) or math.prod(shape) != values.size:
        raise MismatchError(f"{place}: found {values.size} numbers for shape {tuple(shape)}")
    return values.reshape(shape)


def array_to_blobproto(arr: Array, diff: Array | None = None) -> Message:
    """Returns a BlobProto of an array of any shape and, if given, its gradients."""
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(arr.shape)
    blob.data.extend(arr.astype(float).flat)
    if diff is not None:
        blob.diff.extend(diff.astype(float).flat)
    return blob


def arraylist_to_blobprotovector_str(arraylist: Iterable[Array]) -> bytes:
    """Returns a serialized BlobProtoVector of the arrays."""
    vector = caffe_pb2.BlobProtoVector()
    vector.blobs.extend(map(array_to_blobproto, arraylist))
    return bytes(vector.SerializeToString())


def blobprotovector_str_to_arraylist(str: bytes) -> list[Array]:  # noqa: A002 (Caffe's name)
    """Returns the arrays of a serialized BlobProtoVector."""
    return [blobproto_to_array(blob) for blob in caffe_pb2.BlobProtoVector.FromString(str).blobs]


def array_to_datum(arr: Array, label: int | None = None) -> Message:
    """Returns a Datum of an image.

    Args:
        arr: (channels, height, width); uint8 is stored as bytes, other types as floats.
        label: its class.

    Raises:
        MismatchError: the array does not have three axes.
    """
    if arr.ndim != 3:
        raise MismatchError(f"the array has shape {arr.shape}; expected three axes (channels, height, width)")
    datum = caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = arr.shape
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(float).flat)
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: Message) -> Array:
    """Returns the image of a Datum, (channels, height, width), uint8 or float64.

    Raises:
        MismatchError: it contains an image file instead of pixels, or the number of values does not match its shape.
    """
    if datum.encoded:
        raise MismatchError("the Datum contains an image file (encoded: true), not pixels: decode datum.data first")
    if datum.data:
        values: Array = np.frombuffer(datum.data, np.uint8).copy()
    else:
        values = np.array(datum.float_data, float)
    return _shaped(values, (datum.channels, datum.height, datum.width), "Datum")
