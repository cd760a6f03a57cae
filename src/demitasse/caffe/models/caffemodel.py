"""Reads caffemodels (protobuf of any version, or HDF5) as named lists of blobs, and writes them in Caffe's layout."""

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

    ``name`` is the label of the layer, see :mod:`demitasse.caffe.definition.labels`. HDF5 does not store the ``type``,
    which is then empty, and stores a shared blob only with its owner; in the other layers it is an empty array.
    """

    name: str
    type: str
    blobs: list[Array]


def read_net_message(path: str | Path, text: bool = False) -> schema.NetParameter:
    """Reads a binary caffemodel into a NetParameter of the same form, with private field numbers.

    Args:
        path: the file.
        text: whether blobs are repeated numbers, for printing, instead of bytes.

    Raises:
        FileFormatError: the file is missing, cut short, or of another format; the message has the place.
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
    """Reads the layers of a caffemodel in file order: protobuf of any version, or HDF5, as the content shows.

    Args:
        source: the path of the file, or its bytes.

    Raises:
        FileFormatError: see :func:`read_net_message`.
        NetError: a layer of an old form has no counterpart in the current form.
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
    """Returns a NetParameter as the content of a binary caffemodel, with the field numbers of files."""
    return dialects.to_file_numbers(message.SerializeToString())
