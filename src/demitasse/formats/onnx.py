"""``.onnx``: the weights of a model as tensors, and its graph without them as text.

The graph stands in the metadata under ``onnx``: the bytes of the ModelProto whose weights have no values, one character
of Latin-1 each. The header of a .demi file codes them in fewer bytes than zlib.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from typing_extensions import override

from demitasse.errors import FileFormatError, UsageError, WeightsError
from demitasse.extras import needs
from demitasse.formats.base import FORMATS, Contents, Format, Settings
from demitasse.formats.sources import place_of
from demitasse.packed.tensor import BY_NAME, DType, Tensor

GRAPH = "onnx"
# number in TensorProto.DataType -> type; strings, and values of four bits, stay in the graph
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
# where values stand that are not raw, and as what
_FIELDS = {
    "float_data": np.float32,
    "double_data": np.float64,
    "int32_data": np.int32,
    "int64_data": np.int64,
    "uint64_data": np.uint64,
}
# a constant of fewer values takes fewer bytes in the graph
_LEAST = 64

Message = Any  # of the package onnx, which has no types


class Onnx(Format):
    """Models of one file, or of several (external data) when they are read."""

    name = "onnx"
    suffixes = (".onnx",)

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
        return Contents(tensors, {GRAPH: model.SerializeToString(deterministic=True).decode("latin-1")})

    @override
    def write(self, contents: Contents, file: BinaryIO, settings: Settings) -> None:
        onnx = _package()
        if GRAPH not in contents.metadata:
            raise UsageError(
                "there is no graph beside the tensors, which an .onnx file needs: only what was packed from an .onnx "
                "file can become one again (demitasse export makes one of a Caffe net)"
            )
        model = onnx.ModelProto()
        try:
            model.ParseFromString(contents.metadata[GRAPH].encode("latin-1"))
        except (DecodeError, UnicodeEncodeError) as error:
            raise FileFormatError(f"metadata {GRAPH!r} is not the graph of an ONNX model: {error}") from error
        _fill(model, contents)
        try:
            data = model.SerializeToString()
        except ValueError as error:  # a message of protobuf has less than 2 GiB
            raise WeightsError(f"the model does not fit into one .onnx file: {error}") from error
        file.write(data)


FORMATS.register(Onnx.name)(Onnx())


def _package() -> ModuleType:
    with needs("onnx"):
        import onnx
    return onnx


def _model(source: Path | bytes, place: str) -> Message:
    """Returns the model of a file, with the values that stand in other files beside it."""
    onnx = _package()
    model = onnx.ModelProto()
    try:
        model.ParseFromString(source if isinstance(source, bytes) else source.read_bytes())
    except FileNotFoundError:
        raise FileFormatError(f"{place}: there is no such file") from None
    except OSError as error:
        raise FileFormatError(f"{place}: cannot be read: {error.strerror or error}") from error
    except DecodeError:
        raise FileFormatError(f"{place}: cannot be read as .onnx: it is cut short, damaged, or no ONNX model") from None
    if not (model.ir_version and model.HasField("graph") and model.opset_import):
        raise FileFormatError(f"{place}: cannot be read as .onnx: it is cut short, or no ONNX model")
    if isinstance(source, Path):
        _load_external(onnx, model, source)
    elsewhere = [proto.name for proto in _protos(model.graph) if proto.data_location == onnx.TensorProto.EXTERNAL]
    if elsewhere:
        raise FileFormatError(
            f"{place}: the values of {elsewhere[0]!r} are in another file; give the path of the model"
        )
    return model


def _load_external(onnx: ModuleType, model: Message, path: Path) -> None:
    """Reads the values that are in other files; onnx refuses those that are outside of the model's folder."""
    from onnx import external_data_helper

    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise FileFormatError(f"{path}: the values that are in other files cannot be read: {error}") from None


def _weights(model: Message) -> Iterator[tuple[str, Message]]:
    """Yields name and proto of what is a tensor beside the graph: initializers, and constants of many values.

    The graph alone tells them, whether they have their values or not. Of several with one name, as branches of an If
    may have, only the first is: the others stay in the graph.
    """
    taken = set()
    for proto, name in _named(model.graph):
        # protobuf gives out text that is not UTF-8 as bytes
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
        FileFormatError: the number of values is not what the shape says.
    """
    dtype, shape = _TYPES[proto.data_type], tuple(proto.dims)
    bits = _bits(proto, dtype)
    if min(shape, default=0) < 0 or len(bits) != math.prod(dtype.stored(shape)):
        raise FileFormatError(f"tensor {name!r} of shape {list(shape)} has {len(bits)} values of type {dtype.name}")
    return Tensor(name, dtype, dtype.stored(shape), bits)


def _bits(proto: Message, dtype: DType) -> NDArray[Any]:
    if proto.HasField("raw_data"):
        if len(proto.raw_data) % dtype.size:
            raise FileFormatError(f"tensor {proto.name!r} has {len(proto.raw_data)} bytes of type {dtype.name}")
        return np.frombuffer(proto.raw_data, dtype.bits.newbyteorder("<")).astype(dtype.bits)
    for field, kind in _FIELDS.items():
        if values := getattr(proto, field):
            found = np.fromiter(values, kind, len(values))
            # narrow types are kept in the lower bits of wider numbers, floats as they are
            return found.view(dtype.bits) if found.itemsize == dtype.size else found.astype(dtype.bits)
    return np.empty(0, dtype.bits)


def _fill(model: Message, contents: Contents) -> None:
    """Gives the weights of a graph their values.

    Raises:
        WeightsError: a tensor is missing, is not of the graph, or has another type or shape there.
    """
    tensors = {tensor.name: tensor for tensor in contents.tensors}
    for name, proto in _weights(model):
        found = tensors.pop(name, None)
        dtype, shape = _TYPES[proto.data_type], tuple(proto.dims)
        if found is None:
            raise WeightsError(f"{name} is missing, which the graph has with shape {list(shape)}")
        if (found.dtype, found.shape) != (dtype, dtype.stored(shape)):
            raise WeightsError(
                f"{name} is of type {found.dtype.name} and shape {list(found.dtype.shown(found.shape))}; "
                f"the graph has {dtype.name} and {list(shape)}"
            )
        proto.raw_data = found.bits.astype(found.bits.dtype.newbyteorder("<"), copy=False).tobytes()
    if tensors:
        raise WeightsError(f"{next(iter(tensors))} is no tensor of the graph")
