"""What a codec is: it writes the values of a tensor to a stream, and reads them back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from demitasse.errors import FileFormatError
from demitasse.packed.reader import ByteReader
from demitasse.packed.stream import Array, Stream
from demitasse.packed.tensor import Bits, Tensor

NOTHING = np.zeros(0, np.int64)


class Context:
    """What both sides know of the tensors that came before in the same stream.

    Attributes:
        counts: of the matrix before, the number of weights that are not zero, by row; empty if there was none.
    """

    def __init__(self, counts: Array = NOTHING) -> None:
        self.counts = counts

    def reaches(self, columns: int) -> bool:
        """Returns whether so many columns may come from the rows of the matrix before, as many from each."""
        return len(self.counts) > 0 and columns % len(self.counts) == 0


class Codec(Protocol):
    """A way to code values. Its settings stand in the file's header.

    Attributes:
        alone: whether it fills payloads of its own, so that large tensors can be cut into parts.
        slow: whether it takes longer than a large tensor should.
    """

    alone: bool
    slow: bool

    def settings(self, tensor: Tensor, context: Context) -> Iterator[bytes]:
        """Yields the settings that are worth a try; none if the codec does not suit the tensor."""

    def encode(self, tensor: Tensor, settings: bytes, stream: Stream, context: Context) -> Context:
        """Writes the values; returns what the next tensor may know."""

    def decode(self, tensor: Tensor, settings: ByteReader, stream: Stream, context: Context) -> tuple[Bits, Context]:
        """Reads the values of a tensor that has none yet.

        Raises:
            FileFormatError: the settings do not belong to such a tensor.
        """

    def memory(self, tensor: Tensor, settings: ByteReader) -> int:
        """Takes the settings off; returns the bytes that decoding needs besides the values.

        Raises:
            FileFormatError: the settings do not belong to such a tensor.
        """


def refuse(settings: ByteReader, what: str) -> FileFormatError:
    """Returns the error for settings that make no sense."""
    return FileFormatError(f"byte {settings.offset}: {what}")
