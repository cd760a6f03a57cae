"""Caffemodels, protobuf of any age or HDF5: read into named lists of blobs, and written in Caffe's own layout."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from demitasse.caffe import schema
from demitasse.caffe.definition import labels
from demitasse.caffe.models.blobs import Array, blob_array
from demitasse.caffe.models.messages import is_hdf5, parse_message, read_bytes
from demitasse.caffe.schema import dialects
from demitasse.caffe.upgrade import upgrade_layers
from demitasse.errors import FileFormatError
from demitasse.files import write_bytes


class LayerBlobs(NamedTuple):
    """The blobs of one layer in a caffemodel.

    ``name`` is the label, see :mod:`demitasse.caffe.definition.labels`: the layers of one name in order.
    HDF5 does not tell the ``type`` (it is empty then), and keeps a shared blob under its owner alone: an array
    without entries stands for it in the other layers.
    """

    name: str
    type: str
    blobs: list[Array]


def read_net_message(path: str | Path, text: bool = False) -> schema.NetParameter:
    """Reads a binary caffemodel into a NetParameter as written, with private field numbers.

    Args:
        path: the file.
        text: blobs as repeated numbers, for printing.

    Raises:
        FileFormatError: missing, cut short, or of another kind; says where.
    """
    return parse_net_message(read_bytes(path), path, text)


def parse_net_message(data: bytes, path: str | Path, text: bool = False) -> schema.NetParameter:
    """Parses the content of a binary caffemodel; see :func:`read_net_message`."""
    try:
        data = dialects.to_private_numbers(data)
    except FileFormatError as error:
        raise error.within(str(path)) from error
    message: schema.NetParameter = schema.text_message("NetParameter")() if text else schema.NetParameter()
    return parse_message(message, data, path)


def read_model(source: str | Path | bytes) -> list[LayerBlobs]:
    """Reads the layers of a caffemodel, protobuf of any age or HDF5 (told by content), in file order.

    Args:
        source: the path of the file, or its bytes.

    Raises:
        FileFormatError: see :func:`read_net_message`.
        NetError: a layer of an old form has no counterpart today.
        MissingPackageError: the file is HDF5 and h5py is not installed.
    """
    data = source if isinstance(source, bytes) else read_bytes(source)
    if is_hdf5(data):
        from demitasse.caffe.models.hdf5_file import read_hdf5

        return [LayerBlobs(name, "", blobs) for name, blobs in read_hdf5(source)]
    return parse_model(data, "data" if isinstance(source, bytes) else source)


def parse_model(data: bytes, path: str | Path) -> list[LayerBlobs]:
    """Parses the content of a binary caffemodel; see :func:`read_model`."""
    found = []
    specs = upgrade_layers(parse_net_message(data, path), str(path)).layer
    names = labels.distinct_labels([layer.name for layer in specs], [bool(layer.blobs) for layer in specs])
    for name, layer in zip(names, specs, strict=True):
        blobs = []
        for index, blob in enumerate(layer.blobs):
            try:
                blobs.append(blob_array(blob))
            except FileFormatError as error:
                raise error.within(f"{path}: blob {index} of layer {layer.name!r}") from error
        found.append(LayerBlobs(name, layer.type, blobs))
    return found


def write_net_message(message: schema.NetParameter, path: str | Path) -> None:
    """Writes a NetParameter with blobs as a binary caffemodel."""
    write_bytes(path, net_message_bytes(message))


def net_message_bytes(message: schema.NetParameter) -> bytes:
    """Returns a NetParameter as the content of a binary caffemodel, in file field numbers."""
    return dialects.to_file_numbers(message.SerializeToString())
