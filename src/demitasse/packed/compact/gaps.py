"""Positions of nonzero values as gaps, as in the formats "4/4", "4/8" and Deep Compression's."""

from __future__ import annotations

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import FileFormatError
from demitasse.packed.reader import ByteReader

FILLER = 0


def encode(positions: Array, codes: Array, longest: int) -> tuple[Array, Array]:
    """Turns positions into gaps of 1 to ``longest``, and inserts fillers before longer gaps.

    Args:
        positions: (k,) int64, ascending.
        codes: (k,) uint8, the codes of the values at the positions.
        longest: the longest gap, 16 or 256.

    Returns:
        The codes with fillers (code 0) and the gaps minus one, both (n,) uint8.
    """
    gaps = np.diff(positions, prepend=-1) - 1
    ends = np.cumsum(gaps // longest + 1) - 1
    count = int(ends[-1]) + 1 if len(ends) else 0
    filled = np.full(count, FILLER, np.uint8)
    filled[ends] = codes
    stored = np.full(count, longest - 1, np.uint8)
    stored[ends] = gaps % longest
    return filled, stored


def decode(reader: ByteReader, codes: Array, gaps: Array, codebook: Array, size: int, place: str) -> Array:
    """Returns an array with ``codebook[code]`` at the positions that the gaps give; code 0 is a filler.

    Args:
        reader: the reader after the gaps, for the byte in messages.
        codes: (n,) uint8.
        gaps: (n,) uint8, the gaps minus one.
        codebook: (16 or 256,) float32.
        size: number of values.
        place: layer and blob, for messages.

    Returns:
        (size,) float32.

    Raises:
        FileFormatError: a position is beyond the size, or the codebook is not finite.
    """
    if not np.isfinite(codebook).all():
        raise FileFormatError(f"byte {reader.offset}: {place}: expected a codebook of finite numbers, found {codebook}")
    positions = np.cumsum(gaps.astype(np.int64) + 1) - 1
    if len(positions) and positions[-1] >= size:
        raise FileFormatError(f"byte {reader.offset}: {place}: expected positions below {size}, found {positions[-1]}")
    values = np.zeros(size, np.float32)
    stored = codes != FILLER
    values[positions[stored]] = codebook[codes[stored]]
    return values
