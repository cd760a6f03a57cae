"""Reads nets from Caffe's files, and from packed files that contain their definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demitasse.caffe import schema
from demitasse.caffe.net import Net as CaffeNet
from demitasse.caffe.text import prototxt
from demitasse.caffe.text.fields import Places
from demitasse.dnn.net import Net
from demitasse.errors import PrototxtError
from demitasse.formats.base import PACKED
from demitasse.graph.caffe import definition_in, load_stored, stored_layers

Source = str | Path | bytes | bytearray | NDArray[np.uint8]


def readNetFromCaffe(prototxt: Source, caffeModel: Source | None = None) -> Net:
    """Reads a Caffe net.

    Args:
        prototxt: the path of its definition, or the bytes of it; or the path of a .demi file that contains a net.
        caffeModel: the path of its weights (a caffemodel, protobuf or HDF5, or a .demi file), or the bytes of a
            caffemodel; None leaves the weights as the fillers make them.

    Returns:
        The net, in phase TEST.

    Raises:
        PrototxtError, NetError, UnknownNameError: the definition cannot be read or built.
        FileFormatError, WeightsError: the weights cannot be read, or do not fit the net.
        UsageError: the .demi file contains no definition.
    """
    weights = _source(caffeModel) if caffeModel is not None else None
    found = _source(prototxt)
    if isinstance(found, Path) and found.suffix == PACKED:
        spec, origin = definition_in(found)
        places, weights = None, found if weights is None else weights
    elif isinstance(found, Path):
        spec, origin, places = read_net(found)
    else:
        spec, origin, places = _parsed(found), "prototxt", None
    net = CaffeNet(spec, schema.TEST, origin=origin, places=places)
    if weights is not None:
        load_stored(net, stored_layers(weights), "caffeModel" if isinstance(weights, bytes) else weights)
    return Net(net, origin)


def read_net(path: Path) -> tuple[schema.NetParameter, str, Places]:
    """Returns the definition of a net, its name for messages, and the places of its layers."""
    return prototxt.read_net(path), str(path), prototxt.places(path)


def _source(given: Source) -> Path | bytes:
    if isinstance(given, str | Path):
        return Path(given)
    return given.tobytes() if isinstance(given, np.ndarray) else bytes(given)


def _parsed(data: bytes) -> schema.NetParameter:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise PrototxtError(f"prototxt: not a text: {error}") from error
    message = prototxt.parse(text, schema.text_message("NetParameter")(), "prototxt")
    return schema.NetParameter.FromString(message.SerializeToString())
