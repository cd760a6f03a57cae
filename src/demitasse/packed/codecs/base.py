"""The base class of codecs, which write the values of a tensor to a stream and read them back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import FileFormatError
from demitasse.packed.palettes import Palette
from demitasse.packed.reader import ByteReader
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import Bits, Tensor

NOTHING = np.zeros(0, np.int64)


class Context:
    """What both sides know about the previous tensors in the same stream.

    Attributes:
        counts: (rows,) int64, number of nonzero weights in each row of the previous matrix; empty if there is none.
    """

    def __init__(self, counts: Array = NOTHING) -> None:
        self.counts = counts

    def can_link(self, columns: int) -> bool:
        """Returns whether this number of columns may come from the rows of the previous matrix, equally from each."""
        return len(self.counts) > 0 and columns % len(self.counts) == 0


class Codec(Protocol):
    """A way to code values; the file's header holds its settings.

    Attributes:
        alone: whether it writes payloads of its own, so that large tensors can be cut into parts.
        slow: whether it is too slow for large tensors.
    """

    alone: bool
    slow: bool

    def settings(self, tensor: Tensor, context: Context) -> Iterator[bytes]:
        """Yields the settings to try; none if the codec does not suit the tensor."""

    def encode(self, tensor: Tensor, settings: bytes, stream: Stream, context: Context) -> Context:
        """Writes the values; returns the context for the next tensor."""

    def decode(self, tensor: Tensor, settings: ByteReader, stream: Stream, context: Context) -> tuple[Bits, Context]:
        """Reads the values of a tensor whose bits are still empty; returns them and the context for the next tensor.

        Raises:
            FileFormatError: the settings are invalid for this tensor.
        """

    def palette(self, tensor: Tensor, settings: ByteReader) -> Palette | None:
        """Reads the settings; returns the palette that they have, if any.

        Raises:
            FileFormatError: the settings are invalid for this tensor.
        """

    def memory(self, tensor: Tensor, settings: ByteReader) -> int:
        """Reads the settings; returns the bytes of memory that decoding needs in addition to the values.

        Raises:
            FileFormatError: the settings are invalid for this tensor.
        """


def refuse(settings: ByteReader, what: str) -> FileFormatError:
    """Returns the error for invalid settings."""
    return FileFormatError(f"byte {settings.offset}: {what}")
