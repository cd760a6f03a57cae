"""Sparse powers of two: 4-bit values and 4-bit gaps ("4/4") or 8-bit gaps ("4/8").

A blob is: int32 n; 16 float32 codebook ``[0, -2^min .. -2^max, 2^min .. 2^max, 0]``; n values of 4 bits, the
first in the high half of its byte; n gaps minus one, in 4 bits like the values or in a byte each. If n is odd, one
entry of padding follows.
"""

from __future__ import annotations

import numpy as np

from demitasse.arrays import Array
from demitasse.packed.compact import gaps, grid, nibbles
from demitasse.packed.compact.base import CODECS, BlobCodec, BlobPlace
from demitasse.packed.reader import ByteReader

_CODEBOOK = 2 * (grid.EXPONENTS + 1)


class PowersOfTwo(BlobCodec):
    """The codecs "4/4" and "4/8".

    Args:
        gap_bits: number of bits of a gap, 4 or 8; longer gaps need fillers.
    """

    def __init__(self, gap_bits: int) -> None:
        self.gap_bits = gap_bits

    def _encode_blob(self, values: Array, place: BlobPlace) -> bytes:
        positions = np.flatnonzero(values)
        codebook = np.zeros(_CODEBOOK, "<f4")
        codes = np.zeros(0, np.uint8)
        if len(positions):
            kept = values[positions]
            steps, smallest = grid.split(kept, str(place))
            powers = grid.powers(smallest)
            codebook[1:-1] = np.concatenate([-powers, powers])
            codes = (1 + steps + grid.EXPONENTS * (kept > 0)).astype(np.uint8)
        codes, stored = gaps.encode(positions, codes, 1 << self.gap_bits)
        count = np.array(len(codes), "<i4").tobytes()
        return count + codebook.tobytes() + nibbles.pack(codes) + self._pack_gaps(stored)

    def _pack_gaps(self, stored: Array) -> bytes:
        return nibbles.pack(stored) if self.gap_bits == 4 else stored.tobytes() + bytes(len(stored) % 2)

    def _decode_blob(self, reader: ByteReader, size: int, place: BlobPlace) -> Array:
        count = reader.count(size, str(place))
        pairs = (count + 1) // 2
        codebook = reader.array("<f4", _CODEBOOK, f"{place}: codebook")
        codes = nibbles.unpack(reader.array("u1", pairs, f"{place}: values"), count)
        stored = reader.array("u1", pairs * self.gap_bits // 4, f"{place}: gaps")
        stored = nibbles.unpack(stored, count) if self.gap_bits == 4 else stored[:count]
        return gaps.decode(reader, codes, stored, codebook, size, str(place))


CODECS.register("4/4")(PowersOfTwo(gap_bits=4))
CODECS.register("4/8")(PowersOfTwo(gap_bits=8))
