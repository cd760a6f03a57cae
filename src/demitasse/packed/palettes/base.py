"""The base class of palettes, which turn values into symbols: 0 for zero, else 1 + the value's number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from demitasse.packed.tensor import Bits, Tensor

Symbols = NDArray[np.unsignedinteger]

# kinds of palettes in a header; NONE says that there is none
POWERS, LISTED, NONE, SCALED = range(4)

# the most values of a palette, since the header lists their bytes and models have counters for them
MOST_VALUES = 1 << 12
# symbols that a byte holds
BYTE = 256


class Palette(ABC):
    """The nonzero values of a tensor, by number.

    Attributes:
        kind: the number of the class in a header.
        signed: whether the lowest bit of a value's number is its sign.
        count: how many values there are; both signs count as one.
    """

    kind: ClassVar[int]
    signed: ClassVar[bool]
    count: int

    @property
    def depth(self) -> int:
        """Number of bits of a value's number, without the sign."""
        return (self.count - 1).bit_length()

    @property
    def size(self) -> int:
        """How many numbers the bits allow."""
        return 1 << (self.depth + self.signed)

    @property
    def is_of_bytes(self) -> bool:
        """Whether a byte holds every symbol."""
        return self.size < BYTE

    @abstractmethod
    def pack(self) -> bytes:
        """Returns what :func:`demitasse.packed.palettes.unpack` reads."""

    def memory(self, tensor: Tensor) -> int:
        """Returns the bytes of memory that :meth:`values` needs in addition to values, symbols and the palette."""
        return 0

    @abstractmethod
    def symbols(self, tensor: Tensor) -> Symbols:
        """Returns the symbols of a tensor, or of a part, all of whose values are in the palette."""

    @abstractmethod
    def values(self, symbols: Symbols, tensor: Tensor) -> Bits:
        """Returns the bits of the values of a tensor, or of a part, whose bits are still empty.

        Symbols beyond the palette mean zero.
        """
