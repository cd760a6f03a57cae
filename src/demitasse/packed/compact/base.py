"""The base classes of compact formats, which turn the arrays of one layer into bytes and back."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from typing_extensions import override

from demitasse.arrays import Array
from demitasse.errors import WeightsError
from demitasse.packed.reader import ByteReader
from demitasse.registry import Registry

Shape = tuple[int, ...]

ROLES = ("weight", "bias")


class BlobPlace(NamedTuple):
    """A blob of a net: the name of the layer, and ``weight`` or ``bias``."""

    layer: str
    role: str

    def __str__(self) -> str:
        return f"layer {self.layer!r} {self.role}"


def places(name: str, count: int) -> list[BlobPlace]:
    """Returns the places of a layer's blobs.

    Raises:
        WeightsError: there are more than two blobs.
    """
    if count > len(ROLES):
        raise WeightsError(f"layer {name!r}: expected weight and bias, found {count} blobs")
    return [BlobPlace(name, role) for role in ROLES[:count]]


class CompactCodec(Protocol):
    """A compact format; a file is the concatenation of its layers."""

    def encode(self, name: str, arrays: Sequence[Array]) -> bytes:
        """Returns the bytes of one layer.

        Args:
            name: name of the layer, for messages.
            arrays: its weight and, if it has one, its bias.

        Raises:
            WeightsError: the format cannot hold the values; names layer, blob and value, and what is allowed.
        """

    def decode(self, reader: ByteReader, name: str, shapes: Sequence[Shape]) -> list[Array]:
        """Reads one layer as float32 arrays of these shapes.

        Raises:
            FileFormatError: the data is cut short or does not fit the shapes; names the byte.
        """


class BlobCodec(CompactCodec, ABC):
    """A format whose layers are the concatenation of their blobs."""

    @override
    def encode(self, name: str, arrays: Sequence[Array]) -> bytes:
        blobs = zip(places(name, len(arrays)), arrays, strict=True)
        return b"".join(self._encode_blob(array.reshape(-1), place) for place, array in blobs)

    @override
    def decode(self, reader: ByteReader, name: str, shapes: Sequence[Shape]) -> list[Array]:
        blobs = zip(places(name, len(shapes)), shapes, strict=True)
        return [self._decode_blob(reader, math.prod(shape), place).reshape(shape) for place, shape in blobs]

    @abstractmethod
    def _encode_blob(self, values: Array, place: BlobPlace) -> bytes: ...

    @abstractmethod
    def _decode_blob(self, reader: ByteReader, size: int, place: BlobPlace) -> Array: ...


CODECS: Registry[CompactCodec] = Registry("compact format")


def encode(codec: str, layers: Mapping[str, Sequence[Array]]) -> bytes:
    """Encodes layers in a format.

    Args:
        codec: name of the format.
        layers: name -> weight and, if there is one, bias, in net order.
    """
    return b"".join(CODECS[codec].encode(name, arrays) for name, arrays in layers.items())


def decode(codec: str, data: bytes, shapes: Mapping[str, Sequence[Shape]]) -> dict[str, list[Array]]:
    """Decodes a whole file.

    Args:
        codec: name of the format.
        data: the bytes of the file.
        shapes: name -> shapes of weight and, if there is one, bias, of the layers in net order.

    Returns:
        name -> float32 arrays of these shapes.

    Raises:
        FileFormatError: the data does not fit the shapes, or continues after the last layer.
    """
    reader = ByteReader(data)
    layers = {name: CODECS[codec].decode(reader, name, wanted) for name, wanted in shapes.items()}
    reader.expect_end()
    return layers
