"""Deep Compression's ``.net`` files: shared weights and gaps of 4 bits.

The file is: for each layer uint32 n, its number of entries; then for each layer its codebook of 2^b float32
(b is 8 for convolutions, 4 for inner products), its biases as float32, n value codes of b bits, n gaps minus one
of 4 bits. The low half of a byte comes first. Code 0 is a filler.

Reference: Han, Mao, Dally 2016, Deep Compression (arXiv 1510.00149), section 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import WeightsError
from demitasse.packed.compact import gaps, nibbles
from demitasse.packed.compact.base import Shape, places
from demitasse.packed.reader import ByteReader

_LONGEST = 16


def encode(layers: Mapping[str, Sequence[Array]]) -> bytes:
    """Encodes a whole file; codes count from 1 in the order of the values.

    Args:
        layers: name -> weight and, if there is one, bias, in net order; a weight with four axes is a convolution's.

    Raises:
        WeightsError: a weight has more than 255 (convolutions) or 15 (inner products) distinct nonzero values, or one
            that is not finite.
    """
    counts, parts = [], []
    for name, arrays in layers.items():
        count, data = _encode_layer(arrays, f"{places(name, len(arrays))[0]}")
        counts.append(count)
        parts.append(data)
    return b"".join([np.array(counts, "<u4").tobytes(), *parts])


def _encode_layer(arrays: Sequence[Array], place: str) -> tuple[int, bytes]:
    bits, weight = _bits(arrays[0].shape), arrays[0].reshape(-1)
    positions = np.flatnonzero(weight)
    values, codes = np.unique(weight[positions], return_inverse=True)
    if not np.isfinite(values).all():
        raise WeightsError(f"{place}: expected finite numbers, found {values[~np.isfinite(values)][0]}")
    if len(values) >= 1 << bits:
        raise WeightsError(
            f"{place}: found {len(values)} distinct nonzero values; a .net file holds at most {(1 << bits) - 1}"
        )
    codebook = np.zeros(1 << bits, "<f4")
    codebook[1 : 1 + len(values)] = values
    filled, stored = gaps.encode(positions, (codes + 1).astype(np.uint8), _LONGEST)
    packed = filled.tobytes() if bits == 8 else nibbles.pack(filled, low_first=True)
    biases = [array.astype("<f4").tobytes() for array in arrays[1:]]
    return len(filled), b"".join([codebook.tobytes(), *biases, packed, nibbles.pack(stored, low_first=True)])


def _bits(shape: Shape) -> int:
    """Returns the bits of a code."""
    return 8 if len(shape) == 4 else 4


def decode(data: bytes, shapes: Mapping[str, Sequence[Shape]]) -> dict[str, list[Array]]:
    """Decodes a whole file.

    Args:
        data: the bytes of the file.
        shapes: name -> shapes of weight and, if there is one, bias, of the layers in net order; a weight with four
            axes is a convolution's.

    Returns:
        name -> float32 arrays of these shapes.

    Raises:
        FileFormatError: the data does not fit the shapes; names the byte.
    """
    reader = ByteReader(data)
    counts = [reader.count(math.prod(s[0]), f"layer {name!r}", "<u4") for name, s in shapes.items()]
    layers = {
        name: _decode_layer(reader, count, wanted, f"layer {name!r}")
        for count, (name, wanted) in zip(counts, shapes.items(), strict=True)
    }
    reader.expect_end()
    return layers


def _decode_layer(reader: ByteReader, count: int, shapes: Sequence[Shape], place: str) -> list[Array]:
    pairs = (count + 1) // 2
    bits = _bits(shapes[0])
    codebook = reader.array("<f4", 1 << bits, f"{place}: codebook")
    biases = [reader.array("<f4", math.prod(shape), f"{place}: bias").reshape(shape) for shape in shapes[1:]]
    packed = reader.array("u1", count if bits == 8 else pairs, f"{place}: values")
    codes = packed if bits == 8 else nibbles.unpack(packed, count, low_first=True)
    stored = nibbles.unpack(reader.array("u1", pairs, f"{place}: gaps"), count, low_first=True)
    weight = gaps.decode(reader, codes, stored, codebook, math.prod(shapes[0]), place)
    return [weight.reshape(shapes[0]), *biases]
