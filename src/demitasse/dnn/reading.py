"""Reads nets from Caffe's files, and from packed files that contain their definition."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from demitasse.caffe import schema
from demitasse.caffe.net import Net as CaffeNet
from demitasse.caffe.text import prototxt
from demitasse.caffe.text.fields import Places
from demitasse.dnn.net import Net
from demitasse.dnn.opencv import of_opencv
from demitasse.errors import PrototxtError, UsageError
from demitasse.formats.base import PACKED
from demitasse.graph.caffe import definition_in, load_stored, stored_layers

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[np.uint8]

_DEFINITIONS, _WEIGHTS = (".prototxt", PACKED), (".caffemodel",)


def readNet(model: Source, config: Source = "", framework: Source = "") -> Net:
    """Reads a Caffe net, or any other net by OpenCV, if that is installed.

    Args:
        model: the path of the weights, or of the definition, as cv2 allows; or ``"caffe"`` before the bytes of both.
        config: the path of the other file; after ``"caffe"``, the bytes of the weights.
        framework: ``"caffe"``, or empty for what the names of the files say; after ``"caffe"``, the bytes of the
            definition.

    Returns:
        The net; of other frameworks, OpenCV's.

    Raises:
        AttributeError: the net is of another framework, and OpenCV is not installed.
        DemitasseError: as for :func:`readNetFromCaffe`.
    """
    if isinstance(model, str) and model.lower() == "caffe":
        return readNetFromCaffe(framework, config)
    first, second = _suffix(model), _suffix(config)
    named = isinstance(framework, str) and framework.lower() == "caffe"
    if named or first in _DEFINITIONS + _WEIGHTS or second in _DEFINITIONS + _WEIGHTS:
        if first in _DEFINITIONS or second in _WEIGHTS:
            model, config = config, model
        return readNetFromCaffe(config, model)
    return cast(Net, of_opencv("readNet")(model, config, framework))  # type: ignore[operator]


def readNetFromCaffe(
    prototxt: Source | None = None,
    caffeModel: Source | None = None,
    *,
    bufferProto: Source | None = None,
    bufferModel: Source | None = None,
    stages: Collection[str] = (),
) -> Net:
    """Reads a Caffe net.

    Args:
        prototxt: the path of its definition, or the bytes of it; or the path of a .demi file that contains a net.
        caffeModel: the path of its weights (a caffemodel, protobuf or HDF5, or a .demi file), or the bytes of a
            caffemodel; None or "" leaves the weights as the fillers make them.
        bufferProto: cv2's other name of ``prototxt`` where it is given as bytes.
        bufferModel: cv2's other name of ``caffeModel`` where it is given as bytes.
        stages: stages for include and exclude rules, such as "deploy" of DIGITS; cv2 has no such argument.

    Returns:
        The net, in phase TEST.

    Raises:
        PrototxtError, NetError, UnknownNameError: the definition cannot be read or built.
        FileFormatError, WeightsError: the weights cannot be read, or do not fit the net.
        UsageError: the .demi file contains no definition; or what is given is neither a path nor bytes.
    """
    given = bufferModel if caffeModel is None else caffeModel
    weights = None if given is None or (isinstance(given, str) and not given) else _source("caffeModel", given)
    found = _source("prototxt", bufferProto if prototxt is None else prototxt)
    if isinstance(found, Path) and found.suffix == PACKED:
        spec, origin = definition_in(found)
        places, weights = None, found if weights is None else weights
    elif isinstance(found, Path):
        spec, origin, places = read_net(found)
    else:
        spec, origin, places = _parsed(found), "prototxt", None
    net = CaffeNet(spec, schema.TEST, stages=stages, origin=origin, places=places)
    if weights is not None:
        load_stored(net, stored_layers(weights), "caffeModel" if isinstance(weights, bytes) else weights)
    return Net(net, origin)


def read_net(path: Path) -> tuple[schema.NetParameter, str, Places]:
    """Returns the definition of a net, its name for messages, and the places of its layers."""
    return prototxt.read_net(path), str(path), prototxt.places(path)


def _source(name: str, given: object) -> Path | bytes:
    if isinstance(given, str | os.PathLike):
        return Path(given)
    if isinstance(given, np.ndarray) and given.dtype == np.uint8:
        return given.tobytes()
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    what = f"an array of {given.dtype}" if isinstance(given, np.ndarray) else type(given).__name__
    raise UsageError(f"{name} is {what}; expected a path, bytes, or an array of uint8")


def _suffix(given: object) -> str:
    return Path(given).suffix.lower() if isinstance(given, str | os.PathLike) else ""


def _parsed(data: bytes) -> schema.NetParameter:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise PrototxtError(f"prototxt: not a text: {error}") from error
    message = prototxt.parse(text, schema.text_message("NetParameter")(), "prototxt")
    return schema.NetParameter.FromString(message.SerializeToString())
