"""Matrices of weights with many zeros or few distinct values: pruned, quantized, or both.

The model predicts whether a weight is zero from the density so far of its row, its column, its input channel, its
place in the kernel, the columns around it and the unit that it comes from, compared with the expected density. It
predicts the sign and the magnitude of a nonzero weight from its neighbours. The file holds only the weights: both sides
learn the model while coding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from typing_extensions import override

from demitasse.arrays import Array
from demitasse.packed import palettes
from demitasse.packed.codecs.base import NOTHING, Codec, Context, refuse
from demitasse.packed.codecs.numbers import code_bytes, few, memory_of
from demitasse.packed.kernels.weights import MatrixLayout
from demitasse.packed.palettes import Palette
from demitasse.packed.palettes.scaled import ScaledRows, find_scaled
from demitasse.packed.reader import ByteReader, short
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import Bits, Tensor, from_bytes, matrix, to_bytes

# bytes of the slots and counters of a row or a column
_LINE = 220


@dataclass(frozen=True)
class WeightsSettings:
    """How a tensor is coded.

    Attributes:
        palette: the palette of the nonzero values; None if they are coded as numbers after the positions.
        zeros: whether there are zeros.
        linked: whether the columns come from the rows of the previous matrix in the stream.
        group: number of columns of an input channel: those of its kernel or image.
        side: width of that kernel or image.
    """

    palette: Palette | None
    zeros: bool
    linked: bool
    group: int
    side: int

    def pack(self, tensor: Tensor) -> bytes:
        """Returns the settings for the header."""
        kind, values = (self.palette.kind, self.palette.pack()) if self.palette else (palettes.NONE, b"")
        own = (self.group, self.side) != natural(tensor.shape)
        out = short(kind | self.zeros << 2 | self.linked << 3 | own << 4) + values
        return out + (short(self.group, self.side) if own else b"")


def unpack(settings: ByteReader, tensor: Tensor) -> WeightsSettings:
    """Reads what :meth:`WeightsSettings.pack` wrote.

    Raises:
        FileFormatError: the settings are invalid for this tensor.
    """
    flags = settings.number(31, "kind of weights")
    found = palettes.unpack(flags & 3, settings, tensor)
    group, side = natural(tensor.shape)
    rows, columns = matrix(tensor.shape)
    if flags & 16:
        group, side = settings.number(columns, "columns of a group"), settings.number(columns, "columns of a side")
    if not group or columns % group or not 0 < side <= group:
        raise refuse(settings, f"found groups of {group} columns, {side} wide, in a matrix of {rows} x {columns}")
    return WeightsSettings(found, bool(flags & 4), bool(flags & 8), group, side)


def natural(shape: tuple[int, ...]) -> tuple[int, int]:
    """Returns the group and side that follow from the shape: those of a kernel."""
    return (math.prod(shape[2:]), shape[-1]) if len(shape) > 2 else (1, 1)


def suits(shape: tuple[int, ...]) -> bool:
    """Returns whether rows and columns, which need counters, are few compared with the weights, or few in all."""
    rows, columns = matrix(shape)
    return 0 < math.prod(shape) < 1 << 31 and rows + columns <= max(1 << 14, math.prod(shape) >> 4)


def geometries(shape: tuple[int, ...], units: int) -> list[tuple[int, int]]:
    """Returns the groups and sides to try.

    Args:
        shape: shape of the tensor.
        units: number of rows of the previous matrix: the inputs of a linear layer may be their images.
    """
    found = [natural(shape)]
    _, columns = matrix(shape)
    if len(shape) == 2:
        groups = [columns // units] if units and columns % units == 0 else []
        found += [(group, math.isqrt(group)) for group in (*groups, columns) if group > 1 and _is_square(group)]
    return list(dict.fromkeys(found))


def _is_square(number: int) -> bool:
    return math.isqrt(number) ** 2 == number


def _code(symbols: Array, plan: WeightsSettings, tensor: Tensor, stream: Stream, context: Context) -> Context:
    """Codes symbols; returns the context for the next tensor."""
    rows, columns = matrix(tensor.shape)
    depth, signed = (plan.palette.depth, plan.palette.signed) if plan.palette else (0, False)
    layout = MatrixLayout(rows, columns, plan.group, plan.side, depth, int(signed), plan.zeros)
    stream.weights(symbols, layout, context.counts if plan.linked else NOTHING)
    return Context(np.count_nonzero(symbols.reshape(rows, columns), axis=1)) if columns > 1 else context


class Weights(Codec):
    """The codec of pruned and quantized matrices; see the module."""

    alone = False
    slow = True

    @override
    def settings(self, tensor: Tensor, context: Context) -> Iterator[bytes]:
        if not suits(tensor.shape):
            return
        zeros = tensor.size - int(np.count_nonzero(tensor.bits))
        found = palettes.find(tensor)
        present = tensor.size - zeros
        _, columns = matrix(tensor.shape)
        for group, side in geometries(tensor.shape, len(context.counts)):
            for linked in (False, True) if context.can_link(columns) else (False,):
                for each in found:
                    yield WeightsSettings(each, zeros > 0, linked, group, side).pack(tensor)
                if zeros and few(present * tensor.dtype.size) and all(each.size * 8 > present for each in found):
                    yield WeightsSettings(None, True, linked, group, side).pack(tensor)

    def moved(self, tensor: Tensor, settings: bytes) -> bytes:
        """Returns the settings of a tensor after its rows or columns have changed places: scales move with them."""
        plan = unpack(ByteReader(settings), tensor)
        if not isinstance(plan.palette, ScaledRows):
            return settings
        return replace(plan, palette=find_scaled(tensor)).pack(tensor)

    @override
    def encode(self, tensor: Tensor, settings: bytes, stream: Stream, context: Context) -> Context:
        plan = unpack(ByteReader(settings), tensor)
        symbols = plan.palette.symbols(tensor) if plan.palette else (tensor.bits != 0).astype(np.uint16)
        known = _code(symbols, plan, tensor, stream, context)
        if not plan.palette:
            code_bytes(stream, to_bytes(tensor.bits[tensor.bits != 0]), width=tensor.dtype.size)
        return known

    @override
    def decode(self, tensor: Tensor, settings: ByteReader, stream: Stream, context: Context) -> tuple[Bits, Context]:
        plan = self._plan(tensor, settings)
        if plan.linked and not context.can_link(matrix(tensor.shape)[1]):
            raise refuse(settings, "found linked columns, but no previous matrix that they can come from")
        symbols = np.zeros(tensor.size, np.uint16)
        known = _code(symbols, plan, tensor, stream, context)
        if plan.palette:
            return plan.palette.values(symbols, tensor), known
        bits = np.zeros(tensor.size, tensor.dtype.bits)
        present = np.flatnonzero(symbols)
        values = np.zeros(len(present) * tensor.dtype.size, np.uint8)
        code_bytes(stream, values, width=tensor.dtype.size)
        bits[present] = from_bytes(values, tensor.dtype.bits)
        return bits, known

    @override
    def palette(self, tensor: Tensor, settings: ByteReader) -> Palette | None:
        return self._plan(tensor, settings).palette

    @override
    def memory(self, tensor: Tensor, settings: ByteReader) -> int:
        plan = self._plan(tensor, settings)
        rows, columns = matrix(tensor.shape)
        need = 2 * tensor.size + _LINE * (rows + columns)
        if plan.palette:
            return need + 4096 * 6 + 500 * plan.palette.size + plan.palette.memory(tensor)
        size = tensor.size * tensor.dtype.size
        return need + 10 * tensor.size + size + memory_of(size)

    def _plan(self, tensor: Tensor, settings: ByteReader) -> WeightsSettings:
        if not suits(tensor.shape):
            raise refuse(
                settings, f"found the codec of weights for a tensor of shape {tensor.shape}, which it cannot code"
            )
        return unpack(settings, tensor)
