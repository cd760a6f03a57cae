"""A tensor as a file holds it: a name, a type, a shape, and the bits of its values."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import UsageError

# the most values of a part
PART = 1 << 19

Bits = Array


class DType(NamedTuple):
    """A type of values.

    A complex number is stored as two real ones, so that a complex tensor has one more axis in the file.

    Attributes:
        name: as in torch and safetensors.
        size: size of a value in bytes; for a complex type, that of its real part.
        mantissa: number of bits of a floating-point mantissa; -1 for integers, and for floating-point types without a
            sign, or without a negative zero.
        complex: whether the type is complex.
    """

    name: str
    size: int
    mantissa: int = -1
    complex: bool = False

    @property
    def floating(self) -> bool:
        """Whether it is a floating-point type whose highest bit is the sign."""
        return self.mantissa >= 0

    @property
    def is_of_numpy(self) -> bool:
        """Whether numpy itself has the type; other packages may add some that it lacks."""
        return not self.name.startswith(("bfloat", "float8", "float4")) and self.name != "complex32"

    @property
    def bits(self) -> np.dtype[Any]:
        """The unsigned integer type that holds the bits of a value."""
        return np.dtype(f"u{self.size}")

    @property
    def sign(self) -> np.unsignedinteger:
        """The highest bit, as a number of type :attr:`bits`."""
        highest: np.unsignedinteger = self.bits.type(1 << (8 * self.size - 1))
        return highest

    def stored(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of a tensor in the file."""
        return (*shape, 2) if self.complex else shape

    def shown(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of a tensor whose shape in the file is given."""
        return shape[:-1] if self.complex else shape

    @property
    def largest_exponent(self) -> int:
        """The largest number that the exponent bits of a floating-point number hold."""
        return (1 << (8 * self.size - 1 - self.mantissa)) - 1


# the index in this list is the type's number in a file: only add at the end
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


class Tensor(NamedTuple):
    """A tensor.

    Attributes:
        name: any text without a zero character.
        dtype: type of the values.
        shape: shape in the file: empty for one value; a complex type adds a last axis of 2.
        bits: (size,) of type :attr:`DType.bits`, the bits of the values.
        start: of a part of a cut tensor, the flat index of its first value.
        whole: of a part of a cut tensor, the shape of the whole tensor.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    bits: Bits
    start: int = 0
    whole: tuple[int, ...] | None = None

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    def array(self) -> Bits:
        """Returns the values in their shape; for a type that numpy lacks, their bits."""
        if not self.dtype.is_of_numpy:
            return self.bits.reshape(self.shape)
        return self.bits.view(self.dtype.name).reshape(self.dtype.shown(self.shape))


class Part(NamedTuple):
    """A part of a tensor that is cut.

    Attributes:
        start: flat index of its first value.
        shape: shape of the part.
    """

    start: int
    shape: tuple[int, ...]


def part_of(tensor: Tensor, part: Part) -> Tensor:
    """Returns a part of a tensor, or of one whose bits are still empty."""
    bits = tensor.bits[part.start : part.start + math.prod(part.shape)]
    return tensor._replace(shape=part.shape, bits=bits, start=part.start, whole=tensor.shape)


def parts(shape: tuple[int, ...]) -> Iterator[Part]:
    """Yields the parts of a tensor that is cut: whole rows of up to 2^19 values, or 2^19 values of longer rows."""
    rows, columns = matrix(shape)
    long = columns > PART
    size, inner = (1, ()) if long else (max(columns, 1), shape[1:])
    count, step = rows * columns // size, PART // size
    for first in range(0, max(count, 1), step):
        yield Part(first * size, (min(step, count - first), *inner))


def matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    """Returns the rows and columns of a tensor as a matrix, with a row for each index of the first axis."""
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
    """Returns the bytes of numbers, the most significant byte of each first."""
    return np.frombuffer(bits.astype(bits.dtype.newbyteorder(">")).tobytes(), np.uint8).copy()


def from_bytes(values: Bits, bits: np.dtype[np.unsignedinteger]) -> Bits:
    """Returns the numbers whose bytes :func:`to_bytes` returned."""
    return np.frombuffer(values.tobytes(), bits.newbyteorder(">")).astype(bits)


def of_array(name: str, array: Bits) -> Tensor:
    """Returns the tensor of a numpy array.

    Raises:
        UsageError: the array's type is not one of :data:`DTYPES`.
    """
    if array.dtype.name not in BY_NAME:
        raise UsageError(f"{name} has type {array.dtype.name}; expected one of {', '.join(BY_NAME)}")
    dtype, array = BY_NAME[array.dtype.name], array.astype(array.dtype.newbyteorder("="), copy=False)
    if dtype.name == "bool":
        array = array.view(np.uint8) != 0  # any nonzero byte is True, as in numpy
    flat = np.ascontiguousarray(array).reshape(-1).view(dtype.bits)
    return Tensor(name, dtype, dtype.stored(array.shape), flat)
