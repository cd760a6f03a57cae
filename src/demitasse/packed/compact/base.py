"""What a compact format is: a pair of functions between the arrays of one layer and bytes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from typing_extensions import override

from demitasse.errors import WeightsError
from demitasse.packed.reader import ByteReader
from demitasse.registry import Registry

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, ...]

ROLES = ("weight", "bias")


class BlobPlace(NamedTuple):
    """Which blob of a net: name of the layer and ``weight`` or ``bias``."""

    layer: str
    role: str

    def __str__(self) -> str:
        return f"layer {self.layer!r} {self.role}"


def places(name: str, count: int) -> list[BlobPlace]:
    """Returns the places of a layer's blobs.

    Raises:
        WeightsError: there are more than weight and bias.
    """
    if count > len(ROLES):
        raise WeightsError(f"layer {name!r}: expected weight and bias, found {count} blobs")
    return [BlobPlace(name, role) for role in ROLES[:count]]


class CompactCodec(Protocol):
    """One format; its files are the concatenation of its layers."""

    def encode(self, name: str, arrays: Sequence[Array]) -> bytes:
        """Returns the bytes of one layer.

        Args:
            name: of the layer, for errors.
            arrays: its weight and, where it has one, its bias.

        Raises:
            WeightsError: the format cannot hold the values; says layer, blob, value and what is allowed.
        """

    def decode(self, reader: ByteReader, name: str, shapes: Sequence[Shape]) -> list[Array]:
        """Reads one layer back as float32 arrays of these shapes.

        Raises:
            FileFormatError: the data is cut short or contradicts the shapes; says at which byte.
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
    """Encodes layers (name -> weight and bias, in net order) in the format of this name."""
    return b"".join(CODECS[codec].encode(name, arrays) for name, arrays in layers.items())


def decode(codec: str, data: bytes, shapes: Mapping[str, Sequence[Shape]]) -> dict[str, list[Array]]:
    """Decodes a whole file; ``shapes`` gives the layers that it holds, in net order.

    Raises:
        FileFormatError: the data is not what the shapes ask for, or goes on behind the last layer.
    """
    reader = ByteReader(data)
    layers = {name: CODECS[codec].decode(reader, name, wanted) for name, wanted in shapes.items()}
    reader.expect_end()
    return layers
