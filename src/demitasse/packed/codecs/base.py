"""What a codec is: it writes the values of a tensor to a stream, and reads them back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from demitasse.errors import FileFormatError
from demitasse.packed.integers import Cursor
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


class Codec(Protocol):
    """A way to code values. Its settings stand in the file's header."""

    def settings(self, tensor: Tensor, context: Context) -> Iterator[bytes]:
        """Yields the settings that are worth a try; none if the codec does not suit the tensor."""

    def encode(self, tensor: Tensor, settings: bytes, stream: Stream, context: Context) -> Context:
        """Writes the values; returns what the next tensor may know."""

    def decode(self, tensor: Tensor, settings: Cursor, stream: Stream, context: Context) -> tuple[Bits, Context]:
        """Reads the values of a tensor that has none yet.

        Raises:
            FileFormatError: the settings do not belong to such a tensor.
        """

    def memory(self, tensor: Tensor, settings: Cursor) -> int:
        """Returns the bytes that decoding needs besides the values."""


# the place in this list is the codec's number in a file: only ever add at the end
CODECS: list[Codec] = []


def register(codec: type[Codec]) -> type[Codec]:
    """Enters a codec."""
    CODECS.append(codec())
    return codec


def refuse(settings: Cursor, what: str) -> FileFormatError:
    """Returns the error for settings that make no sense."""
    return FileFormatError(f"{settings.place}: {what}")
