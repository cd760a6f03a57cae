"""Reads arrays, numbers and texts from a byte string in order; errors name the byte and what was expected there."""

from __future__ import annotations

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import FileFormatError

_MOST_BYTES = 9


def short(*numbers: int) -> bytes:
    """Encodes numbers from 0 to 2^63 - 1 in as few bytes as possible: seven bits in each byte, lowest first.

    The eighth bit of a byte says that more bytes follow.
    """
    out = bytearray()
    for number in numbers:
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)
    return bytes(out)


class ByteReader:
    """A byte string with a position.

    Attributes:
        offset: the next byte to read.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    def array(self, dtype: str, count: int, what: str) -> Array:
        """Returns the next ``count`` values as a view into the data.

        Args:
            dtype: numpy's code of the type, such as ``<f4``.
            count: number of values.
            what: what the values are, for messages.

        Raises:
            FileFormatError: fewer bytes are left.
        """
        needed = count * np.dtype(dtype).itemsize
        left = len(self._data) - self.offset
        if needed > left:
            raise FileFormatError(
                f"byte {self.offset}: {what}: expected {needed} bytes, found {left}: the file is cut short, "
                "or belongs to another net or format"
            )
        values = np.frombuffer(self._data, dtype, count, self.offset)
        self.offset += needed
        return values

    def count(self, most: int, what: str, dtype: str = "<i4") -> int:
        """Returns the next integer, a number of entries.

        Raises:
            FileFormatError: the number is negative or above ``most``.
        """
        at = self.offset
        found = int(self.array(dtype, 1, f"{what}: number of entries")[0])
        if not 0 <= found <= most:
            raise FileFormatError(f"byte {at}: {what}: expected 0 to {most} entries, found {found}")
        return found

    def raw(self, count: int, what: str) -> bytes:
        """Returns the next ``count`` bytes.

        Raises:
            FileFormatError: fewer bytes are left.
        """
        return self.array("u1", count, what).tobytes()

    def number(self, most: int, what: str) -> int:
        """Returns the next number that :func:`short` encoded.

        Raises:
            FileFormatError: the number is cut short, above ``most``, or uses more bytes than it needs.
        """
        at, found = self.offset, 0
        for index in range(_MOST_BYTES):
            if self.offset >= len(self._data):
                self.raw(1, what)
            byte = self._data[self.offset]
            self.offset += 1
            found |= (byte & 127) << 7 * index
            if byte < 128:
                if found > most:
                    raise FileFormatError(f"byte {at}: {what}: found {found}, expected at most {most}")
                if index and not byte:
                    break
                return found
        raise FileFormatError(f"byte {at}: {what}: not a number in its shortest form")

    def utf8(self, count: int, what: str) -> str:
        """Returns the next ``count`` bytes as text.

        Raises:
            FileFormatError: fewer bytes are left, or they are not UTF-8.
        """
        start = self.offset
        try:
            return self.raw(count, what).decode()
        except UnicodeDecodeError:
            raise FileFormatError(f"byte {start}: {what}: not UTF-8") from None

    def text(self, what: str) -> str:
        """Returns the text up to the next zero byte, and skips that byte.

        Raises:
            FileFormatError: there is no zero byte, or the text is not UTF-8.
        """
        end = self._data.find(0, self.offset)
        if end < 0:
            raise FileFormatError(f"byte {self.offset}: {what}: expected a zero byte at its end, found none")
        found = self.utf8(end - self.offset, what)
        self.offset += 1
        return found

    def checksum(self, what: str) -> int:
        """Returns the next four bytes as a CRC-32.

        Raises:
            FileFormatError: fewer bytes are left.
        """
        return int(self.array("<u4", 1, f"checksum of {what}")[0])

    def bytes_since(self, start: int) -> bytes:
        """Returns the bytes from ``start`` to the current position."""
        return self._data[start : self.offset]

    def expect_end(self) -> None:
        """Raises FileFormatError unless all bytes have been read."""
        if self.offset != len(self._data):
            raise FileFormatError(
                f"byte {self.offset}: expected the end of the file, found "
                f"{len(self._data) - self.offset} more bytes: does the file belong to another net or format?"
            )
