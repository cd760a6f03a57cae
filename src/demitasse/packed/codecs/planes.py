"""Large tensors, coded for speed: planes of bytes, each with fixed probabilities.

A tensor of few distinct values is one plane of symbols. Other tensors have one plane for each byte of a number, the
most significant first; the sign of a floating-point number is moved to its end, so that the first plane is the
exponent. If many values are zero, one more plane says which, and the other planes hold the nonzero values. The kinds of
its row and its column choose the probabilities of a byte: units and inputs of a pruned layer differ in how many weights
they keep.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from typing_extensions import override

from demitasse.errors import FileFormatError
from demitasse.packed import palettes
from demitasse.packed.codecs.base import Codec, Context, refuse
from demitasse.packed.codecs.plane import Plane, pack_plane, unpack_plane, work_of
from demitasse.packed.kernels.rans import SYMBOLS, turn
from demitasse.packed.palettes import Palette
from demitasse.packed.reader import ByteReader, short
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import Bits, DType, Tensor, matrix

# smaller tensors are not worth a payload of their own
_LEAST = 1 << 12
_BYTES = np.arange(SYMBOLS, dtype=np.uint8)


class PlanesSettings(NamedTuple):
    """How a tensor is coded.

    Attributes:
        palette: the palette of the nonzero values; None if they are coded as numbers.
        zeros: whether a separate plane says which values are zero.
    """

    palette: Palette | None
    zeros: bool

    def pack(self) -> bytes:
        """Returns the settings for the header."""
        kind, values = (self.palette.kind, self.palette.pack()) if self.palette else (palettes.NONE, b"")
        return short(kind | self.zeros << 2) + values


def unpack(settings: ByteReader, tensor: Tensor) -> PlanesSettings:
    """Reads what :meth:`PlanesSettings.pack` wrote.

    Raises:
        FileFormatError: the settings are invalid for this tensor.
    """
    flags = settings.number(7, "kind of planes")
    found = palettes.unpack(flags & 3, settings, tensor)
    if found and (not found.is_of_bytes or flags & 4):
        raise refuse(settings, f"found a palette of {found.size} values, expected fewer, and no plane of zeros")
    return PlanesSettings(found, bool(flags & 4))


class Planes(Codec):
    """The codec of large tensors; see the module."""

    alone = True
    slow = False

    @override
    def settings(self, tensor: Tensor, context: Context) -> Iterator[bytes]:
        if tensor.size < _LEAST:
            return
        found = [each for each in palettes.find(tensor) if each.is_of_bytes]
        for each in found:
            yield PlanesSettings(each, False).pack()
        if not any(each.kind != palettes.SCALED for each in found):
            yield PlanesSettings(None, False).pack()
            if not tensor.bits.all():
                yield PlanesSettings(None, True).pack()

    @override
    def encode(self, tensor: Tensor, settings: bytes, stream: Stream, context: Context) -> Context:
        plan, (rows, columns) = unpack(ByteReader(settings), tensor), matrix(tensor.shape)
        if plan.palette:
            symbols = plan.palette.symbols(tensor).astype(np.uint8)
            stream.write_bytes(pack_plane(Plane(symbols, rows, columns)))
            return context
        present, out = tensor.bits, b""
        if plan.zeros:
            shown = tensor.bits != 0
            present, out = tensor.bits[shown], pack_plane(Plane(shown.view(np.uint8), rows, columns))
            rows, columns = len(present), 1
        for plane in _split(present, tensor.dtype):
            out += pack_plane(Plane(plane, rows, columns))
        stream.write_bytes(out)
        return context

    @override
    def decode(self, tensor: Tensor, settings: ByteReader, stream: Stream, context: Context) -> tuple[Bits, Context]:
        plan, (rows, columns) = unpack(settings, tensor), matrix(tensor.shape)
        data = ByteReader(stream.read_bytes())
        apart = 0
        if plan.palette:
            symbols = np.zeros(tensor.size, np.uint8)
            unpack_plane(data, rows, columns, _BYTES, symbols, stream)
            bits = plan.palette.values(symbols, tensor)
        elif plan.zeros:
            shown = np.zeros(tensor.size, np.uint8)
            unpack_plane(data, rows, columns, _BYTES, shown, stream)
            apart = data.offset
            if shown.max(initial=0) > 1:
                raise FileFormatError(f"byte {data.offset}: found {shown.max()} in a plane of zeros and ones")
            bits = np.zeros(tensor.size, tensor.dtype.bits)
            bits[shown != 0] = _join(data, int(shown.sum(dtype=np.int64)), 1, tensor.dtype, stream)
        else:
            bits = _join(data, rows, columns, tensor.dtype, stream)
        data.expect_end()
        # symbols code positions and values at once; they count as values
        stream.spent += apart, data.offset - apart
        return bits, context

    @override
    def palette(self, tensor: Tensor, settings: ByteReader) -> Palette | None:
        return unpack(settings, tensor).palette

    @override
    def memory(self, tensor: Tensor, settings: ByteReader) -> int:
        plan = unpack(settings, tensor)
        if plan.palette:
            return work_of(tensor.shape) + tensor.size + plan.palette.memory(tensor)
        return work_of(tensor.shape) + (tensor.dtype.size + 1) * tensor.size


def _split(bits: Bits, dtype: DType) -> Iterator[Bits]:
    """Yields the planes of numbers, the most significant byte first."""
    turned = bits.copy()
    if dtype.floating:
        turn(turned, 1)
    planes = turned.astype(turned.dtype.newbyteorder("<"), copy=False).view(np.uint8).reshape(-1, dtype.size)
    for place in reversed(range(dtype.size)):
        yield np.ascontiguousarray(planes[:, place])


def _join(data: ByteReader, rows: int, columns: int, dtype: DType, stream: Stream) -> Bits:
    """Reads the planes that :func:`_split` yielded, and returns the numbers."""
    planes = np.zeros((rows * columns, dtype.size), np.uint8)
    for place in reversed(range(dtype.size)):
        unpack_plane(data, rows, columns, _BYTES, planes[:, place], stream)
    bits: Bits = planes.reshape(-1).view(dtype.bits.newbyteorder("<")).astype(dtype.bits, copy=False)
    if dtype.floating:
        turn(bits, 8 * dtype.size - 1)
    return bits
