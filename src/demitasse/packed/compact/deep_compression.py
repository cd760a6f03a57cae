"""Deep Compression's ``.net`` files: shared weights and gaps of 4 bits, read only.

The file is: for each layer uint32 n, its number of entries; then for each layer its codebook of 2^b float32
(b is 8 for convolutions, 4 for inner products), its biases as float32, n value codes of b bits, n gaps less one
of 4 bits. Of two halves of a byte the low one is first. Code 0 is a filler.

Reference: Han, Mao, Dally 2016, Deep Compression (arXiv 1510.00149), section 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from demitasse.packed.compact import gaps, nibbles
from demitasse.packed.compact.base import Array, Shape
from demitasse.packed.reader import Reader


def decode(data: bytes, shapes: Mapping[str, Sequence[Shape]]) -> dict[str, list[Array]]:
    """Decodes a whole file.

    Args:
        data: its bytes.
        shapes: name -> shapes of weight and, where there is one, bias, of the layers in net order; a weight of
            four axes is a convolution's.

    Returns:
        name -> float32 arrays of these shapes.

    Raises:
        FileFormatError: the data is not what the shapes ask for; says at which byte.
    """
    reader = Reader(data)
    counts = [reader.count(math.prod(s[0]), f"layer {name!r}", "<u4") for name, s in shapes.items()]
    layers = {
        name: _decode_layer(reader, count, wanted, f"layer {name!r}")
        for count, (name, wanted) in zip(counts, shapes.items(), strict=True)
    }
    reader.finish()
    return layers


def _decode_layer(reader: Reader, count: int, shapes: Sequence[Shape], place: str) -> list[Array]:
    pairs = (count + 1) // 2
    bits = 8 if len(shapes[0]) == 4 else 4
    codebook = reader.take("<f4", 1 << bits, f"{place}: codebook")
    biases = [reader.take("<f4", math.prod(shape), f"{place}: bias").reshape(shape) for shape in shapes[1:]]
    packed = reader.take("u1", count if bits == 8 else pairs, f"{place}: values")
    codes = packed if bits == 8 else nibbles.unpack(packed, count, low_first=True)
    stored = nibbles.unpack(reader.take("u1", pairs, f"{place}: gaps"), count, low_first=True)
    weight = gaps.decode(reader, codes, stored, codebook, math.prod(shapes[0]), place)
    return [weight.reshape(shapes[0]), *biases]
