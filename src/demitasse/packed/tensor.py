"""A tensor as the file knows it: a name, a type, a shape, and the bits of its values."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from demitasse.errors import UsageError

Bits = np.ndarray[Any, np.dtype[Any]]


class DType(NamedTuple):
    """A type of values.

    Attributes:
        name: as torch and safetensors say it.
        size: in bytes.
        mantissa: bits of it in a floating-point number; -1 for integers.
    """

    name: str
    size: int
    mantissa: int = -1

    @property
    def floating(self) -> bool:
        """Whether it is a floating-point number; the sign is its highest bit."""
        return self.mantissa >= 0

    @property
    def bits(self) -> np.dtype[Any]:
        """The unsigned integer that holds the bits of a value."""
        return np.dtype(f"u{self.size}")

    @property
    def sign(self) -> Any:
        """The highest bit, as :attr:`bits`."""
        return self.bits.type(1 << (8 * self.size - 1))

    @property
    def largest_exponent(self) -> int:
        """What the bits between sign and mantissa hold at most, of a floating-point number."""
        return (1 << (8 * self.size - 1 - self.mantissa)) - 1


# the place in this list is the type's number in a file: only ever add at the end
DTYPES = (
    DType("float32", 4, 23),
    DType("float16", 2, 10),
    DType("bfloat16", 2, 7),
    DType("float64", 8, 52),
    DType("int8", 1),
    DType("uint8", 1),
    DType("int16", 2),
    DType("uint16", 2),
    DType("int32", 4),
    DType("uint32", 4),
    DType("int64", 8),
    DType("uint64", 8),
    DType("bool", 1),
    DType("float8_e4m3fn", 1, 3),
    DType("float8_e5m2", 1, 2),
)
BY_NAME = {dtype.name: dtype for dtype in DTYPES}


class Tensor(NamedTuple):
    """A tensor.

    Attributes:
        name: any text without a zero character.
        dtype: of the values.
        shape: may be empty: one value.
        bits: the bits of the values, flat, as :attr:`DType.bits`.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    bits: Bits

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    def array(self) -> Bits:
        """Returns the values with their shape; of a type that numpy has not, their bits."""
        known = self.dtype.name if self.dtype.name in np.sctypeDict else self.dtype.bits
        return self.bits.view(known).reshape(self.shape)


def of_array(name: str, array: Bits) -> Tensor:
    """Returns the tensor of a numpy array.

    Raises:
        UsageError: its type is none of :data:`DTYPES`.
    """
    if array.dtype.name not in BY_NAME:
        raise UsageError(f"{name} has type {array.dtype.name}; expected one of {', '.join(BY_NAME)}")
    dtype, array = BY_NAME[array.dtype.name], array.astype(array.dtype.newbyteorder("="), copy=False)
    return Tensor(name, dtype, array.shape, np.ascontiguousarray(array).reshape(-1).view(dtype.bits))
