"""Nothing but zeros: nothing is written."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from demitasse.packed.codecs.base import Context
from demitasse.packed.reader import Reader
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import Bits, Tensor


class Zeros:
    """See the module."""

    alone = False
    slow = False

    def settings(self, tensor: Tensor, context: Context) -> Iterator[bytes]:
        """See :class:`demitasse.packed.codecs.base.Codec`."""
        if not tensor.bits.any():
            yield b""

    def encode(self, tensor: Tensor, settings: bytes, stream: Stream, context: Context) -> Context:
        """See :class:`demitasse.packed.codecs.base.Codec`."""
        return context

    def decode(self, tensor: Tensor, settings: Reader, stream: Stream, context: Context) -> tuple[Bits, Context]:
        """See :class:`demitasse.packed.codecs.base.Codec`."""
        return np.zeros(tensor.size, tensor.dtype.bits), context

    def memory(self, tensor: Tensor, settings: Reader) -> int:
        """See :class:`demitasse.packed.codecs.base.Codec`."""
        return 0
