"""Large tensors, for speed: planes of bytes, each with fixed probabilities.

A tensor of few values is one plane of symbols. Others are as many planes as a number has bytes, the one that matters
most first; a floating-point number has its sign moved to its end before, so that the first plane is the exponent. If
many are zero, a plane of its own says which, and the others hold the rest. What kind of row and of column a byte stands
in chooses its probabilities: units and inputs of a pruned layer differ in how much is left of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from typing_extensions import override

from demitasse.errors import FileFormatError
from demitasse.packed import palette
from demitasse.packed.codecs.base import Codec, Context, refuse
from demitasse.packed.codecs.plane import Plane, pack_plane, unpack_plane, work_of
from demitasse.packed.kernels.rans import SYMBOLS, turn
from demitasse.packed.palette import Palette
from demitasse.packed.reader import ByteReader, short
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import Bits, DType, Tensor, matrix

# smaller ones are not worth a payload
_LEAST = 1 << 12
_BYTES = np.arange(SYMBOLS, dtype=np.uint8)


class PlanesSettings(NamedTuple):
    """How a tensor is coded.

    Attributes:
        palette: of the values that are not zero; None where they follow as numbers.
        zeros: whether a plane of its own says which are zero.
    """

    palette: Palette | None
    zeros: bool

    def pack(self) -> bytes:
        """Returns the settings for the header."""
        kind, values = (self.palette.kind, self.palette.pack()) if self.palette else (palette.NONE, b"")
        return short(kind | self.zeros << 2) + values


def unpack(settings: ByteReader, tensor: Tensor) -> PlanesSettings:
    """Reads what :meth:`PlanesSettings.pack` wrote.

    Raises:
        FileFormatError: it has no meaning for such a tensor.
    """
    flags = settings.number(7, "kind of planes")
    found = palette.unpack(flags & 3, settings, tensor.dtype)
    if found and (found.size >= SYMBOLS or flags & 4):
        raise refuse(settings, f"a plane of {found.size} values, or with zeros apart")
    return PlanesSettings(found, bool(flags & 4))


class Planes(Codec):
    """See the module."""

    alone = True
    slow = False

    @override
    def settings(self, tensor: Tensor, context: Context) -> Iterator[bytes]:
        if tensor.size < _LEAST:
            return
        found = palette.find(tensor.bits, tensor.dtype)
        if found and found.size < SYMBOLS:
            yield PlanesSettings(found, False).pack()
        else:
            yield PlanesSettings(None, False).pack()
            if not tensor.bits.all():
                yield PlanesSettings(None, True).pack()

    @override
    def encode(self, tensor: Tensor, settings: bytes, stream: Stream, context: Context) -> Context:
        plan, (rows, columns) = unpack(ByteReader(settings), tensor), matrix(tensor.shape)
        if plan.palette:
            symbols = palette.symbols(tensor.bits, plan.palette, tensor.dtype).astype(np.uint8)
            stream.put(pack_plane(Plane(symbols, rows, columns)))
            return context
        present, out = tensor.bits, b""
        if plan.zeros:
            shown = tensor.bits != 0
            present, out = tensor.bits[shown], pack_plane(Plane(shown.view(np.uint8), rows, columns))
            rows, columns = len(present), 1
        for plane in _split(present, tensor.dtype):
            out += pack_plane(Plane(plane, rows, columns))
        stream.put(out)
        return context

    @override
    def decode(self, tensor: Tensor, settings: ByteReader, stream: Stream, context: Context) -> tuple[Bits, Context]:
        plan, (rows, columns) = unpack(settings, tensor), matrix(tensor.shape)
        data = ByteReader(stream.take())
        apart = 0
        bits = np.zeros(tensor.size, tensor.dtype.bits)
        if plan.palette:
            unpack_plane(data, rows, columns, palette.table(plan.palette, tensor.dtype, SYMBOLS), bits, stream)
        elif plan.zeros:
            shown = np.zeros(tensor.size, np.uint8)
            unpack_plane(data, rows, columns, _BYTES, shown, stream)
            apart = data.offset
            if shown.max(initial=0) > 1:
                raise FileFormatError(f"byte {data.offset}: a plane of zeros and ones holds {shown.max()}")
            bits[shown != 0] = _join(data, int(shown.sum(dtype=np.int64)), 1, tensor.dtype, stream)
        else:
            bits = _join(data, rows, columns, tensor.dtype, stream)
        data.expect_end()
        # symbols tell both at once
        stream.spent += apart, data.offset - apart
        return bits, context

    @override
    def memory(self, tensor: Tensor, settings: ByteReader) -> int:
        plan = unpack(settings, tensor)
        return work_of(tensor.shape) + (0 if plan.palette else (tensor.dtype.size + 1) * tensor.size)


def _split(bits: Bits, dtype: DType) -> Iterator[Bits]:
    """Yields the planes of numbers."""
    turned = bits.copy()
    if dtype.floating:
        turn(turned, 1)
    planes = turned.astype(turned.dtype.newbyteorder("<"), copy=False).view(np.uint8).reshape(-1, dtype.size)
    for place in reversed(range(dtype.size)):
        yield np.ascontiguousarray(planes[:, place])


def _join(data: ByteReader, rows: int, columns: int, dtype: DType, stream: Stream) -> Bits:
    """Reads what :func:`_split` split."""
    planes = np.zeros((rows * columns, dtype.size), np.uint8)
    for place in reversed(range(dtype.size)):
        unpack_plane(data, rows, columns, _BYTES, planes[:, place], stream)
    bits: Bits = planes.reshape(-1).view(dtype.bits.newbyteorder("<")).astype(dtype.bits, copy=False)
    if dtype.floating:
        turn(bits, 8 * dtype.size - 1)
    return bits
