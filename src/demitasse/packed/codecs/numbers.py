"""A few numbers, such as biases and statistics, coded byte by byte, the most significant byte first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from typing_extensions import override

from demitasse.arrays import Array
from demitasse.packed.codecs.base import Codec, Context
from demitasse.packed.palettes import Palette
from demitasse.packed.reader import ByteReader
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import Bits, Tensor, from_bytes, to_bytes

_MOST = 1 << 16


def code_bytes(stream: Stream, values: Array, begin: int = 0, width: int = 1) -> None:
    """Codes ``values`` from ``begin`` on; see :func:`demitasse.packed.kernels.text`."""
    stream.text(values, begin, width, slot_bits(len(values)))


def slot_bits(count: int) -> int:
    """Returns the binary logarithm of the number of slots of a context, for this number of bytes."""
    return min(20, max(10, count.bit_length() + 3))


def memory_of(count: int) -> int:
    """Returns the bytes of memory for coding this number of bytes: a copy, and the slots of seven contexts."""
    return count + (7 * 4 << slot_bits(count))


def few(size: int) -> bool:
    """Returns whether this number of bytes can be coded quickly: the model of bytes reads 200 in a millisecond."""
    return size <= _MOST


class Numbers(Codec):
    """The codec of a few numbers; see the module."""

    alone = False
    slow = True

    @override
    def settings(self, tensor: Tensor, context: Context) -> Iterator[bytes]:
        if few(tensor.size * tensor.dtype.size):
            yield b""

    @override
    def encode(self, tensor: Tensor, settings: bytes, stream: Stream, context: Context) -> Context:
        code_bytes(stream, to_bytes(tensor.bits), width=tensor.dtype.size)
        return context

    @override
    def decode(self, tensor: Tensor, settings: ByteReader, stream: Stream, context: Context) -> tuple[Bits, Context]:
        values = np.zeros(tensor.size * tensor.dtype.size, np.uint8)
        code_bytes(stream, values, width=tensor.dtype.size)
        return from_bytes(values, tensor.dtype.bits), context

    @override
    def palette(self, tensor: Tensor, settings: ByteReader) -> Palette | None:
        return None

    @override
    def memory(self, tensor: Tensor, settings: ByteReader) -> int:
        return memory_of(tensor.size * tensor.dtype.size)
