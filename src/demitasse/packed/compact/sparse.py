"""Sparse floats ("sparse"): the values that surgery kept, and their positions.

A layer is: int32 number of kept weights; int32 number of kept biases, 0 without a bias; the kept weights as float32;
their flat positions as int32; the kept biases; their positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from demitasse.arrays import Array
from demitasse.errors import FileFormatError
from demitasse.packed.compact.base import CODECS, ROLES, BlobPlace, CompactCodec, Shape, places
from demitasse.packed.reader import ByteReader


class Sparse(CompactCodec):
    """The codec "sparse"; see the module."""

    @override
    def encode(self, name: str, arrays: Sequence[Array]) -> bytes:
        places(name, len(arrays))
        flat = [array.reshape(-1) for array in arrays]
        positions = [np.flatnonzero(values) for values in flat]
        counts = [len(kept) for kept in positions] + [0] * (len(ROLES) - len(arrays))
        parts = [np.array(counts, "<i4").tobytes()]
        for values, kept in zip(flat, positions, strict=True):
            parts += [values[kept].astype("<f4").tobytes(), kept.astype("<i4").tobytes()]
        return b"".join(parts)

    @override
    def decode(self, reader: ByteReader, name: str, shapes: Sequence[Shape]) -> list[Array]:
        both = places(name, len(ROLES))
        sizes = [math.prod(shape) for shape in shapes] + [0] * (len(ROLES) - len(shapes))
        counts = [reader.count(size, str(place)) for size, place in zip(sizes, both, strict=True)]
        blobs = zip(counts, shapes, both, strict=False)
        return [_decode_blob(reader, count, shape, place) for count, shape, place in blobs]


def _decode_blob(reader: ByteReader, count: int, shape: Shape, place: BlobPlace) -> Array:
    kept = reader.array("<f4", count, f"{place}: values")
    at, size = reader.offset, math.prod(shape)
    positions = reader.array("<i4", count, f"{place}: positions")
    wrong = (positions < 0) | (positions >= size) | (np.diff(positions, prepend=-1) <= 0)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise FileFormatError(
            f"byte {at + 4 * first}: {place}: expected ascending positions from 0 to {size - 1}, "
            f"found {positions[first]}"
        )
    values = np.zeros(size, np.float32)
    values[positions] = kept
    return values.reshape(shape)


CODECS.register("sparse")(Sparse())
