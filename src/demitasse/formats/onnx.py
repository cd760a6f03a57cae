"""``.onnx``: the weights of a model as tensors, and its graph without the weights as text.

The metadata entry ``onnx`` is the graph: the bytes of the ModelProto without the values of the weights, one Latin-1
character per byte. The header of a .demi file codes them in fewer bytes than zlib.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
from google.protobuf.message import DecodeError
from typing_extensions import override

from demitasse.caffe.models.blobs import Array
from demitasse.errors import FileFormatError, UsageError, WeightsError
from demitasse.extras import needs
from demitasse.formats.base import FORMATS, Contents, Format, Settings
from demitasse.formats.onnx_texts import KEYS, add_texts, take_texts
from demitasse.formats.sources import place_of
from demitasse.packed.tensor import BY_NAME, DType, Tensor

GRAPH = "onnx"
# number in TensorProto.DataType -> type; strings and 4-bit values stay in the graph
_TYPES = {
    number: BY_NAME[name]
    for number, name in {
        1: "float32",
        2: "uint8",
        3: "int8",
        4: "uint16",
        5: "int16",
        6: "int32",
        7: "int64",
        9: "bool",
        10: "float16",
        11: "float64",
        12: "uint32",
        13: "uint64",
        14: "complex64",
        15: "complex128",
        16: "bfloat16",
        17: "float8_e4m3fn",
        18: "float8_e4m3fnuz",
        19: "float8_e5m2",
        20: "float8_e5m2fnuz",
        24: "float8_e8m0fnu",
    }.items()
}
# fields for values that are not raw, and their types
_FIELDS = {
    "float_data": np.float32,
    "double_data": np.float64,
    "int32_data": np.int32,
    "int64_data": np.int64,
    "uint64_data": np.uint64,
}
# smaller constants take fewer bytes in the graph
_LEAST = 64

Message = Any  # a message of the package onnx, which has no types


class Onnx(Format):
    """Models in one file; models with external data in other files can be read, too."""

    name = "onnx"
    suffixes = (".onnx",)
    keeps = frozenset(KEYS)

    @override
    def read(self, source: Path | bytes, settings: Settings) -> Contents:
        place = place_of(source)
        model = _model(source, place)
        tensors = []
        for name, proto in _weights(model):
            try:
                tensors.append(_tensor(name, proto))
            except FileFormatError as error:
                raise error.within(place) from error
            for field in ("raw_data", *_FIELDS):
                proto.ClearField(field)
        texts = take_texts(model)
        return Contents(tensors, {GRAPH: model.SerializeToString(deterministic=True).decode("latin-1"), **texts})

    @override
    def write(self, contents: Contents, file: BinaryIO, settings: Settings) -> None:
        onnx = _package()
        if GRAPH not in contents.metadata:
            raise UsageError(
                "an .onnx file needs a graph, which these tensors do not have: only a file packed from an .onnx file "
                "can be unpacked to one (demitasse export writes a Caffe net as .onnx)"
            )
        model = onnx.ModelProto()
        try:
            model.ParseFromString(contents.metadata[GRAPH].encode("latin-1"))
        except (DecodeError, UnicodeEncodeError) as error:
            raise FileFormatError(f"metadata {GRAPH!r} is not the graph of an ONNX model: {error}") from error
        _fill(model, contents)
        add_texts(model, contents.metadata)
        try:
            data = model.SerializeToString()
        except ValueError as error:  # protobuf messages are limited to 2 GiB
            raise WeightsError(f"the model does not fit into one .onnx file: {error}") from error
        file.write(data)


FORMATS.register(Onnx.name)(Onnx())


def _package() -> ModuleType:
    with needs("onnx"):
        import onnx
    return onnx


def _model(source: Path | bytes, place: str) -> Message:
    """Returns the model of a file, including values stored in other files beside it."""
    onnx = _package()
    model = onnx.ModelProto()
    try:
        model.ParseFromString(source if isinstance(source, bytes) else source.read_bytes())
    except FileNotFoundError:
        raise FileFormatError(f"{place}: there is no such file") from None
    except OSError as error:
        raise FileFormatError(f"{place}: cannot be read: {error.strerror or error}") from error
    except DecodeError:
        raise FileFormatError(f"{place}: cut short, damaged, or not an ONNX model") from None
    if not (model.ir_version and model.HasField("graph") and model.opset_import):
        raise FileFormatError(f"{place}: cut short, or not an ONNX model")
    if isinstance(source, Path):
        _load_external(onnx, model, source)
    elsewhere = [proto.name for proto in _protos(model.graph) if proto.data_location == onnx.TensorProto.EXTERNAL]
    if elsewhere:
        raise FileFormatError(
            f"{place}: the values of {elsewhere[0]!r} are in another file; give the path of the model"
        )
    return model


def _load_external(onnx: ModuleType, model: Message, path: Path) -> None:
    """Reads the values stored in other files; onnx refuses files outside the model's folder."""
    from onnx import external_data_helper

    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise FileFormatError(f"{path}: the values stored in other files cannot be read: {error}") from None


def _weights(model: Message) -> Iterator[tuple[str, Message]]:
    """Yields name and proto of the values stored as tensors: initializers, and constants of many values.

    The graph determines them, whether or not it still has their values. If several have the same name, as in the
    branches of an If, only the first is stored as a tensor; the others stay in the graph.
    """
    taken = set()
    for proto, name in _named(model.graph):
        # protobuf returns text that is not UTF-8 as bytes
        is_name = isinstance(name, str) and name != "" and "\0" not in name and name not in taken
        if is_name and proto.data_type in _TYPES:
            taken.add(name)
            yield name, proto


def _named(graph: Message) -> Iterator[tuple[Message, str]]:
    for proto in graph.initializer:
        yield proto, proto.name
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("t") and math.prod(attribute.t.dims) >= _LEAST:
                yield attribute.t, node.output[0] if node.output else ""
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _named(inner)


def _protos(graph: Message) -> Iterator[Message]:
    """Yields all tensors of a graph."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _protos(inner)


def _tensor(name: str, proto: Message) -> Tensor:
    """Returns a weight with its values.

    Raises:
        FileFormatError: the number of values does not match the shape.
    """
    dtype, shape = _TYPES[proto.data_type], tuple(proto.dims)
    bits = _bits(proto, dtype)
    if min(shape, default=0) < 0 or len(bits) != math.prod(dtype.stored(shape)):
        raise FileFormatError(
            f"tensor {name!r} has {len(bits)} values of type {dtype.name}, which do not match its shape {list(shape)}"
        )
    return Tensor(name, dtype, dtype.stored(shape), bits)


def _bits(proto: Message, dtype: DType) -> Array:
    if proto.HasField("raw_data"):
        if len(proto.raw_data) % dtype.size:
            raise FileFormatError(
                f"tensor {proto.name!r} has {len(proto.raw_data)} bytes, not a multiple of {dtype.size} "
                f"as its type {dtype.name} requires"
            )
        return np.frombuffer(proto.raw_data, dtype.bits.newbyteorder("<")).astype(dtype.bits)
    for field, kind in _FIELDS.items():
        if values := getattr(proto, field):
            found = np.fromiter(values, kind, len(values))
            # narrow types are stored in the lower bits of wider numbers, floats unchanged
            return found.view(dtype.bits) if found.itemsize == dtype.size else found.astype(dtype.bits)
    return np.empty(0, dtype.bits)


def _fill(model: Message, contents: Contents) -> None:
    """Writes the values of the tensors into the weights of a graph.

    Raises:
        WeightsError: a tensor is missing, is not in the graph, or has another type or shape there.
    """
    tensors = {tensor.name: tensor for tensor in contents.tensors}
    for name, proto in _weights(model):
        found = tensors.pop(name, None)
        dtype, shape = _TYPES[proto.data_type], tuple(proto.dims)
        if found is None:
            raise WeightsError(f"{name} is missing; the graph needs it with shape {list(shape)}")
        if (found.dtype, found.shape) != (dtype, dtype.stored(shape)):
            raise WeightsError(
                f"{name} has type {found.dtype.name} and shape {list(found.dtype.shown(found.shape))}; "
                f"the graph needs {dtype.name} and {list(shape)}"
            )
        proto.raw_data = found.bits.astype(found.bits.dtype.newbyteorder("<"), copy=False).tobytes()
    if tensors:
        raise WeightsError(f"{next(iter(tensors))} is not in the graph")
