"""Tensors of zeros, which take no bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from typing_extensions import override

from demitasse.packed.codecs.base import Codec, Context
from demitasse.packed.palettes import Palette
from demitasse.packed.reader import ByteReader
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import Bits, Tensor


class Zeros(Codec):
    """The codec of tensors of zeros."""

    alone = False
    slow = False

    @override
    def settings(self, tensor: Tensor, context: Context) -> Iterator[bytes]:
        if not tensor.bits.any():
            yield b""

    @override
    def encode(self, tensor: Tensor, settings: bytes, stream: Stream, context: Context) -> Context:
        return context

    @override
    def decode(self, tensor: Tensor, settings: ByteReader, stream: Stream, context: Context) -> tuple[Bits, Context]:
        return np.zeros(tensor.size, tensor.dtype.bits), context

    @override
    def palette(self, tensor: Tensor, settings: ByteReader) -> Palette | None:
        return None

    @override
    def memory(self, tensor: Tensor, settings: ByteReader) -> int:
        return 0
