"""Binary files: caffemodel (protobuf or HDF5) and mean files, read and written in Caffe's own layout."""

from __future__ import annotations

import math
from collections.abc import MutableSequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from demitasse.caffe import labels, log, masks, schema
from demitasse.caffe.hdf5_file import HDF5_MAGIC, read_hdf5, write_hdf5
from demitasse.caffe.list_file import require_regular
from demitasse.caffe.schema import dialects
from demitasse.caffe.sizes import MOST_AXES
from demitasse.caffe.upgrade import upgrade_layers
from demitasse.errors import FileFormatError, WeightsError
from demitasse.files import system_path, write_bytes

if TYPE_CHECKING:
    from demitasse.caffe.net import Net

Array = np.ndarray[Any, np.dtype[Any]]

_RAW = {0: "<f8", 1: "<f4", 2: "<f2"}  # what the enum Type of NVIDIA's fork says of raw_data


class LayerBlobs(NamedTuple):
    """The blobs of one layer in a caffemodel.

    ``name`` is the label, see :mod:`demitasse.caffe.labels`: the layers of one name in order.
    HDF5 does not tell the ``type`` (it is empty then), and keeps a shared blob under its owner alone: an array
    without entries stands for it in the other layers.
    """

    name: str
    type: str
    blobs: list[Array]


def read_bytes(path: str | Path) -> bytes:
    """Returns the content of a file.

    Raises:
        FileFormatError: it is missing, cannot be read, or is empty.
    """
    try:
        data = Path(system_path(path)).read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a name that no file can have
        raise FileFormatError(f"{path!r}: cannot be read: {error}") from error
    if not data:
        raise FileFormatError(f"{path}: the file is empty")
    return data


def parse_message(message: Any, data: bytes, path: str | Path) -> Any:
    """Parses serialized protobuf into ``message`` and returns it.

    Raises:
        FileFormatError: the data is cut short or of another kind.
    """
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise FileFormatError(f"{path}: not a {type(message).__name__}: {error}") from error
    try:
        _check_strings(message)
    except FileFormatError as error:
        raise error.within(str(path)) from error
    return message


def _check_strings(message: Any) -> None:
    """Raises FileFormatError for a string that is not UTF-8: protobuf gives it out as bytes."""
    for field, value in message.ListFields():
        values = value if isinstance(value, MutableSequence) else (value,)
        if field.type == field.TYPE_STRING and any(isinstance(each, bytes) for each in values):
            raise FileFormatError(f"{field.full_name.removeprefix('caffe.')} is not text in UTF-8: {value!r}")
        if field.message_type and field.message_type.name != "BlobProto":
            for each in values:
                _check_strings(each)


def read_net_message(path: str | Path, text: bool = False) -> Any:
    """Reads a binary caffemodel into a NetParameter as written, with private field numbers.

    Args:
        path: the file.
        text: blobs as repeated numbers, for printing.

    Raises:
        FileFormatError: missing, cut short, or of another kind; says where.
    """
    return parse_net_message(read_bytes(path), path, text)


def parse_net_message(data: bytes, path: str | Path, text: bool = False) -> Any:
    """Parses the content of a binary caffemodel; see :func:`read_net_message`."""
    try:
        data = dialects.to_private_numbers(data)
    except FileFormatError as error:
        raise error.within(str(path)) from error
    message = schema.text_message("NetParameter")() if text else schema.NetParameter()
    return parse_message(message, data, path)


def read_model(path: str | Path) -> list[LayerBlobs]:
    """Reads the layers of a caffemodel, protobuf of any age or HDF5 (told by content), in file order.

    Raises:
        FileFormatError: see :func:`read_net_message`.
        NetError: a layer of an old form has no counterpart today.
    """
    data = read_bytes(path)
    if data.startswith(HDF5_MAGIC):
        return [LayerBlobs(name, "", blobs) for name, blobs in read_hdf5(path)]
    return parse_model(data, path)


def parse_model(data: bytes, path: str | Path) -> list[LayerBlobs]:
    """Parses the content of a binary caffemodel; see :func:`read_model`."""
    found = []
    specs = upgrade_layers(parse_net_message(data, path), str(path)).layer
    names = labels.distinct([layer.name for layer in specs], [bool(layer.blobs) for layer in specs])
    for name, layer in zip(names, specs, strict=True):
        blobs = []
        for index, blob in enumerate(layer.blobs):
            try:
                blobs.append(blob_array(blob))
            except FileFormatError as error:
                raise error.within(f"{path}: blob {index} of layer {layer.name!r}") from error
        found.append(LayerBlobs(name, layer.type, blobs))
    return found


def blob_array(blob: Any) -> Array:
    """Returns a BlobProto's values, float32 (float64 where it holds doubles), in its shape.

    Raises:
        FileFormatError: the number of values is not what the shape says.
    """
    dtype, data = _numbers(blob)
    if blob.HasField("shape"):
        shape = tuple(blob.shape.dim)
    elif any(blob.HasField(axis) for axis in ("num", "channels", "height", "width")):
        shape = (blob.num, blob.channels, blob.height, blob.width)
    else:
        shape = (len(data) // np.dtype(dtype).itemsize,)
    if len(shape) > MOST_AXES:
        raise FileFormatError(f"{len(shape)} axes; a blob has {MOST_AXES} at most")
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    if min(shape, default=0) < 0 or len(data) != expected:
        raise FileFormatError(f"shape {list(shape)} needs {expected} bytes of values, found {len(data)}")
    try:
        array = np.frombuffer(data, dtype).reshape(shape)
        return array.astype(np.float32) if array.dtype == np.float16 else array
    except ValueError as error:  # a huge axis beside one of 0
        raise FileFormatError(f"shape {list(shape)} is none of a blob: {error}") from error


def _numbers(blob: Any) -> tuple[str, bytes]:
    if blob.raw_data:
        if blob.raw_data_type not in _RAW:
            raise FileFormatError(f"raw_data_type is {blob.raw_data_type}; expected DOUBLE, FLOAT or FLOAT16")
        return _RAW[blob.raw_data_type], blob.raw_data
    return ("<f8", blob.double_data) if blob.double_data else ("<f4", blob.data)


def array_blob(array: Array) -> Any:
    """Returns a BlobProto that holds the array, as float32 or (where it is float64) double."""
    blob = schema.BlobProto()
    blob.shape.dim.extend(array.shape)
    if array.dtype == np.float64:
        blob.double_data = np.ascontiguousarray(array, "<f8").tobytes()
    else:
        blob.data = np.ascontiguousarray(array, "<f4").tobytes()
    return blob


def load_weights(net: Net, path: str | Path) -> list[str]:
    """Copies the blobs of a caffemodel into the layers of the same names; other layers stay as they are.

    Of several layers of one name, the first in the file goes to the first in the net, and so on. Where no layer of
    the file is in the net, there is a warning, as Caffe has it.

    Returns:
        The labels of the layers that were loaded.

    Raises:
        FileFormatError: the file cannot be read.
        WeightsError: a layer of the same name has other blobs.
    """
    known = net.named_layers()
    owners = {blob.layer for blob in net.learnable}
    model = read_model(path)
    loaded: list[str] = []
    for name, kind, blobs in model:
        if name not in known or not known[name].blob_names:
            continue
        if not blobs and name not in owners:  # shared blobs stand under their owner in HDF5
            continue
        try:
            blobs = masks.fitting(name, kind, blobs, known[name], None)
        except WeightsError as error:
            raise error.within(str(path)) from error
        net.load_blobs(name, blobs, str(path))
        loaded.append(name)
    if not loaded and owners:
        log.warning(
            "net.cpp:757",
            f"{path}: no layer of this file is in the net, which keeps its weights; the file has "
            f"{', '.join(repr(layer.name) for layer in model if layer.blobs) or 'no blobs'}, "
            f"the net has {', '.join(map(repr, sorted(owners)))}",
        )
    return loaded


def net_message(net: Net) -> Any:
    """Returns the NetParameter of a net with its blobs, private field numbers inside."""
    message = schema.NetParameter.FromString(net.spec.SerializeToString())
    layers = net.named_layers()
    for label, spec in zip(net.labels, message.layer, strict=True):
        if label in layers:
            del spec.blobs[:]
            spec.blobs.extend(array_blob(array) for array in blob_arrays(layers[label].blobs()))
    return message


def blob_arrays(tensors: list[Any]) -> list[Array]:
    """Returns blobs as float32 arrays in Caffe's order of axes, whatever their place in memory."""
    return [tensor.detach().cpu().float().contiguous().numpy() for tensor in tensors]


def write_net_message(message: Any, path: str | Path) -> None:
    """Writes a NetParameter with blobs as a binary caffemodel, in file field numbers."""
    data = dialects.to_file_numbers(message.SerializeToString())
    write_bytes(path, data)


def save_weights(net: Net, path: str | Path, hdf5: bool = False) -> None:
    """Writes a net's blobs as a caffemodel, atomically.

    Raises:
        WriteError: the file cannot be written; an older one is as before.
    """
    if not hdf5:
        write_net_message(net_message(net), path)
        return
    owned = {(blob.layer, blob.index) for blob in net.learnable}
    layers = net.named_layers()
    blobs: dict[str, dict[int, Array]] = {}
    for label in net.labels:
        arrays = blob_arrays(layers[label].blobs()) if label in layers else []
        blobs[label] = {index: array for index, array in enumerate(arrays) if (label, index) in owned}
    write_hdf5(blobs, path)


def read_blob(path: str | Path) -> Array:
    """Reads a file of one binary BlobProto; returns float32.

    Raises:
        FileFormatError: missing or cut short.
        DataError: it is a folder, a device or a pipe.
    """
    require_regular(path)
    blob = parse_message(schema.BlobProto(), read_bytes(path), path)
    try:
        return blob_array(blob).astype(np.float32)
    except FileFormatError as error:
        raise error.within(str(path)) from error


def read_mean(path: str | Path) -> Array:
    """Reads a mean file (a binary BlobProto); returns float32 of shape (channels, height, width).

    Raises:
        FileFormatError: missing, cut short, or not one image.
    """
    mean = read_blob(path)
    if mean.ndim == 4 and mean.shape[0] == 1:
        mean = mean[0]
    if mean.ndim != 3:
        raise FileFormatError(f"{path}: a mean is one image, found shape {list(mean.shape)}")
    return mean


def write_mean(path: str | Path, mean: Array) -> None:
    """Writes a mean of shape (channels, height, width) with the four legacy axes that Caffe expects."""
    channels, height, width = mean.shape
    blob = schema.BlobProto(num=1, channels=channels, height=height, width=width)
    blob.data = np.ascontiguousarray(mean, "<f4").tobytes()
    write_bytes(path, blob.SerializeToString())
