"""Packs two 4-bit codes into a byte."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]


def pack(codes: Codes, low_first: bool = False) -> bytes:
    """Packs codes 0..15, the first of a pair into the high half, or with ``low_first`` the low one; pads with 0."""
    even = np.append(codes, np.zeros(len(codes) % 2, np.uint8))
    first, second = (0, 4) if low_first else (4, 0)
    return (even[0::2] << first | even[1::2] << second).astype(np.uint8).tobytes()


def unpack(packed: Codes, count: int, low_first: bool = False) -> Codes:
    """Returns the first ``count`` codes that :func:`pack` packed."""
    halves = (packed & 15, packed >> 4) if low_first else (packed >> 4, packed & 15)
    return np.stack(halves, axis=1).reshape(-1)[:count]
