"""Takes arrays off a byte string in order; every error says at which byte, what was found and expected."""

from __future__ import annotations

from typing import Any

import numpy as np

from demitasse.errors import FileFormatError


class Reader:
    """A place in a byte string.

    Attributes:
        offset: the byte where the next array begins.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    def take(self, dtype: str, count: int, what: str) -> np.ndarray[Any, np.dtype[Any]]:
        """Returns the next ``count`` values as a view into the data.

        Raises:
            FileFormatError: fewer bytes are left.
        """
        needed = count * np.dtype(dtype).itemsize
        left = len(self._data) - self.offset
        if needed > left:
            raise FileFormatError(
                f"byte {self.offset}: {what}: expected {needed} bytes, found {left}: the file is cut short, "
                "or of another net or format"
            )
        values = np.frombuffer(self._data, dtype, count, self.offset)
        self.offset += needed
        return values

    def count(self, most: int, what: str, dtype: str = "<i4") -> int:
        """Reads one number of entries.

        Raises:
            FileFormatError: it is negative, or more than ``most``.
        """
        at = self.offset
        found = int(self.take(dtype, 1, f"{what}: number of entries")[0])
        if not 0 <= found <= most:
            raise FileFormatError(f"byte {at}: {what}: expected 0 to {most} entries, found {found}")
        return found

    def finish(self) -> None:
        """Raises FileFormatError unless all bytes are taken."""
        if self.offset != len(self._data):
            raise FileFormatError(
                f"byte {self.offset}: expected the end of the file, found "
                f"{len(self._data) - self.offset} more bytes: is the file of another net or format?"
            )
