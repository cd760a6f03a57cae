"""A tensor as the file knows it: a name, a type, a shape, and the bits of its values."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from demitasse.errors import UsageError

# values of a part
PART = 1 << 19

Bits = np.ndarray[Any, np.dtype[Any]]


class DType(NamedTuple):
    """A type of values.

    A complex number is a row of two real ones, so that a tensor of them has one dimension more in the file.

    Attributes:
        name: as torch and safetensors say it.
        size: in bytes; of a complex type, that of the real or the imaginary part.
        mantissa: bits of it in a floating-point number; -1 for integers, and for floating-point types of another
            build: without a sign, or with one that makes another number of zero.
        complex: whether it is complex.
    """

    name: str
    size: int
    mantissa: int = -1
    complex: bool = False

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

    def stored(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape that a tensor has in the file."""
        return (*shape, 2) if self.complex else shape

    def shown(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Undoes :meth:`stored`."""
        return shape[:-1] if self.complex else shape

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
    DType("complex64", 4, 23, complex=True),
    DType("complex128", 8, 52, complex=True),
    DType("complex32", 2, 10, complex=True),
    DType("float8_e4m3fnuz", 1),
    DType("float8_e5m2fnuz", 1),
    DType("float8_e8m0fnu", 1),
    DType("float4_e2m1fn_x2", 1),
)
BY_NAME = {dtype.name: dtype for dtype in DTYPES}
# types that numpy itself does not have; other packages may teach it some of them
_NOT_OF_NUMPY = {dtype.name for dtype in DTYPES if dtype.name.startswith(("bfloat", "float8", "float4"))} | {
    "complex32"
}


class Tensor(NamedTuple):
    """A tensor.

    Attributes:
        name: any text without a zero character.
        dtype: of the values.
        shape: may be empty: one value; of a complex type, with a last dimension of 2.
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
        if self.dtype.name in _NOT_OF_NUMPY:
            return self.bits.reshape(self.shape)
        return self.bits.view(self.dtype.name).reshape(self.dtype.shown(self.shape))


class Part(NamedTuple):
    """A piece of a tensor that is cut.

    Attributes:
        start: its first value, counted along the flat tensor.
        shape: of the piece.
    """

    start: int
    shape: tuple[int, ...]


def parts(shape: tuple[int, ...]) -> Iterator[Part]:
    """Yields the parts of a tensor that is cut: whole rows, 2^19 values at most, or so many values of longer rows."""
    rows, columns = matrix(shape)
    long = columns > PART
    size, inner = (1, ()) if long else (max(columns, 1), shape[1:])
    count, step = rows * columns // size, PART // size
    for first in range(0, max(count, 1), step):
        yield Part(first * size, (min(step, count - first), *inner))


def matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    """Returns rows and columns: a row for each unit."""
    size = math.prod(shape)
    rows = shape[0] if shape else 1
    return rows, size // rows if rows else 0


def checksum_of(data: bytes, tensors: Iterable[Tensor] = ()) -> int:
    """Returns the CRC-32 of bytes, followed by the values of tensors, little-endian."""
    found = zlib.crc32(data)
    for tensor in tensors:
        bits = tensor.bits.astype(tensor.bits.dtype.newbyteorder("<"), copy=False)
        found = zlib.crc32(bits.data, found)
    return found


def to_bytes(bits: Bits) -> Bits:
    """Returns numbers as bytes, the one that matters most first."""
    return np.frombuffer(bits.astype(bits.dtype.newbyteorder(">")).tobytes(), np.uint8).copy()


def from_bytes(values: Bits, bits: np.dtype[np.unsignedinteger]) -> Bits:
    """Undoes :func:`to_bytes`."""
    return np.frombuffer(values.tobytes(), bits.newbyteorder(">")).astype(bits)


def of_array(name: str, array: Bits) -> Tensor:
    """Returns the tensor of a numpy array.

    Raises:
        UsageError: its type is none of :data:`DTYPES`.
    """
    if array.dtype.name not in BY_NAME:
        raise UsageError(f"{name} has type {array.dtype.name}; expected one of {', '.join(BY_NAME)}")
    dtype, array = BY_NAME[array.dtype.name], array.astype(array.dtype.newbyteorder("="), copy=False)
    if dtype.name == "bool":
        array = array.view(np.uint8) != 0  # whatever bytes there are, as numpy shows them
    flat = np.ascontiguousarray(array).reshape(-1).view(dtype.bits)
    return Tensor(name, dtype, dtype.stored(array.shape), flat)
