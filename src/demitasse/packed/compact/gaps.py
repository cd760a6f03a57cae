"""Positions of non-zeros as gaps: what the formats "4/4", "4/8" and Deep Compression's have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from demitasse.errors import FileFormatError
from demitasse.packed.reader import ByteReader

Array = np.ndarray[Any, np.dtype[Any]]
FILLER = 0


def encode(positions: Array, codes: Array, longest: int) -> tuple[Array, Array]:
    """Turns positions into gaps of 1 to ``longest``, with fillers in front of longer ones.

    Args:
        positions: (k,) int64, ascending.
        codes: (k,) uint8, the codes of the values there.
        longest: the longest gap, 16 or 256.

    Returns:
        The codes with fillers (code 0) and the gaps less one, both (n,) uint8.
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
    """Returns an array of ``size`` values with ``codebook[code]`` where the gaps lead, float32; code 0 is a filler.

    Args:
        reader: just behind the gaps, for the place in errors.
        codes: (n,) uint8.
        gaps: (n,) uint8, the gaps less one.
        codebook: (16 or 256,) float32.
        size: of the result.
        place: layer and blob, for errors.

    Raises:
        FileFormatError: the gaps lead beyond the size, or the codebook holds no numbers.
    """
    if not np.isfinite(codebook).all():
        raise FileFormatError(f"byte {reader.offset}: {place}: expected a codebook of numbers, found {codebook}")
    positions = np.cumsum(gaps.astype(np.int64) + 1) - 1
    if len(positions) and positions[-1] >= size:
        raise FileFormatError(f"byte {reader.offset}: {place}: expected positions below {size}, found {positions[-1]}")
    values = np.zeros(size, np.float32)
    stored = codes != FILLER
    values[positions[stored]] = codebook[codes[stored]]
    return values
