"""Takes arrays, numbers and texts off a byte string in order; every error says at which byte, and what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np

from demitasse.errors import FileFormatError

_MOST_BYTES = 9


def short(*numbers: int) -> bytes:
    """Returns numbers from 0 to 2^63 - 1 in as few bytes as they need: seven bits in each, lowest first.

    The eighth bit says that more follow.
    """
    out = bytearray()
    for number in numbers:
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)
    return bytes(out)


class ByteReader:
    """A place in a byte string.

    Attributes:
        offset: the byte where the next array begins.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    def array(self, dtype: str, count: int, what: str) -> np.ndarray[Any, np.dtype[Any]]:
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
        found = int(self.array(dtype, 1, f"{what}: number of entries")[0])
        if not 0 <= found <= most:
            raise FileFormatError(f"byte {at}: {what}: expected 0 to {most} entries, found {found}")
        return found

    def raw(self, count: int, what: str) -> bytes:
        """Returns the next bytes.

        Raises:
            FileFormatError: fewer are left.
        """
        return self.array("u1", count, what).tobytes()

    def number(self, most: int, what: str) -> int:
        """Returns the next number of :func:`short`.

        Raises:
            FileFormatError: it is cut short, larger than ``most``, or in more bytes than it needs.
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
        """Returns the next bytes as text.

        Raises:
            FileFormatError: fewer are left, or they are not UTF-8.
        """
        start = self.offset
        try:
            return self.raw(count, what).decode()
        except UnicodeDecodeError:
            raise FileFormatError(f"byte {start}: {what}: not UTF-8") from None

    def text(self, what: str) -> str:
        """Returns the text up to the next zero byte, which is taken too.

        Raises:
            FileFormatError: there is none, or the text is not UTF-8.
        """
        end = self._data.find(0, self.offset)
        if end < 0:
            raise FileFormatError(f"byte {self.offset}: {what}: no zero byte ends it")
        found = self.utf8(end - self.offset, what)
        self.offset += 1
        return found

    def checksum(self, what: str) -> int:
        """Returns the next four bytes as a CRC-32.

        Raises:
            FileFormatError: fewer are left.
        """
        return int(self.array("<u4", 1, f"checksum of {what}")[0])

    def bytes_since(self, start: int) -> bytes:
        """Returns the bytes taken from ``start`` on."""
        return self._data[start : self.offset]

    def expect_end(self) -> None:
        """Raises FileFormatError unless all bytes are taken."""
        if self.offset != len(self._data):
            raise FileFormatError(
                f"byte {self.offset}: expected the end of the file, found "
                f"{len(self._data) - self.offset} more bytes: is the file of another net or format?"
            )
