"""Converts BlobProto messages to arrays and back, and reads files of one blob."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from demitasse.caffe import schema
from demitasse.caffe.list_file import require_regular
from demitasse.caffe.models.messages import parse_message, read_bytes
from demitasse.caffe.sizes import MOST_AXES
from demitasse.errors import FileFormatError

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]

_RAW = {0: "<f8", 1: "<f4", 2: "<f2"}  # raw_data_type (enum Type of NVIDIA's fork) -> type of raw_data


def blob_array(blob: schema.BlobProto) -> Array:
    """Returns the values of a BlobProto in its shape, as float32, or float64 if it contains doubles.

    Raises:
        FileFormatError: the number of values does not match the shape.
    """
    dtype, data = _numbers(blob)
    if blob.HasField("shape"):
        shape = tuple(blob.shape.dim)
    elif any(blob.HasField(axis) for axis in ("num", "channels", "height", "width")):
        shape = (blob.num, blob.channels, blob.height, blob.width)
    else:
        shape = (len(data) // np.dtype(dtype).itemsize,)
    if len(shape) > MOST_AXES:
        raise FileFormatError(f"found a blob with {len(shape)} axes; expected at most {MOST_AXES}")
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    if min(shape, default=0) < 0 or len(data) != expected:
        raise FileFormatError(f"shape {list(shape)} needs {expected} bytes of values, found {len(data)}")
    try:
        array = np.frombuffer(data, dtype).reshape(shape)
        return array.astype(np.float32) if array.dtype == np.float16 else array
    except ValueError as error:  # a huge axis together with an axis of 0
        raise FileFormatError(f"shape {list(shape)} is not a valid blob shape: {error}") from error


def _numbers(blob: schema.BlobProto) -> tuple[str, bytes]:
    if blob.raw_data:
        if blob.raw_data_type not in _RAW:
            raise FileFormatError(f"raw_data_type is {blob.raw_data_type}; expected DOUBLE, FLOAT or FLOAT16")
        return _RAW[blob.raw_data_type], blob.raw_data
    return ("<f8", blob.double_data) if blob.double_data else ("<f4", blob.data)


def array_blob(array: Array) -> schema.BlobProto:
    """Returns a BlobProto of the array: with doubles if it is float64, else with float32 values."""
    blob = schema.BlobProto()
    blob.shape.dim.extend(array.shape)
    if array.dtype == np.float64:
        blob.double_data = np.ascontiguousarray(array, "<f8").tobytes()
    else:
        blob.data = np.ascontiguousarray(array, "<f4").tobytes()
    return blob


def blob_arrays(tensors: Sequence[Tensor]) -> list[Array]:
    """Returns blobs as float32 arrays in C order, whatever their memory format and device."""
    return [tensor.detach().cpu().float().contiguous().numpy() for tensor in tensors]


def read_blob(path: str | Path) -> Array:
    """Reads a file of one binary BlobProto; returns float32.

    Raises:
        FileFormatError: the file is missing or cut short.
        DataError: the path is a folder, a device or a pipe.
    """
    require_regular(path)
    blob = parse_message(schema.BlobProto(), read_bytes(path), path)
    try:
        return blob_array(blob).astype(np.float32)
    except FileFormatError as error:
        raise error.within(str(path)) from error
