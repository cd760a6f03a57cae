"""Whole numbers in as few bytes as they need: seven bits a byte, lowest first, the eighth says that more follow."""

from __future__ import annotations

from demitasse.errors import FileFormatError

_MOST_BYTES = 9


def put(*numbers: int) -> bytes:
    """Returns the bytes of numbers from 0 to 2^63 - 1."""
    out = bytearray()
    for number in numbers:
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)
    return bytes(out)


class Cursor:
    """Takes numbers and bytes off a byte string.

    Attributes:
        offset: the byte that comes next.
        place: names it in messages.
    """

    def __init__(self, data: bytes, name: str, offset: int = 0) -> None:
        self._data, self._name, self.offset = data, name, offset

    @property
    def place(self) -> str:
        """File, part and byte."""
        return f"{self._name}: byte {self.offset}"

    @property
    def left(self) -> int:
        """The number of bytes not taken yet."""
        return len(self._data) - self.offset

    def take(self, count: int, what: str) -> bytes:
        """Returns the next bytes.

        Raises:
            FileFormatError: fewer are left.
        """
        if count > self.left:
            raise FileFormatError(f"{self.place}: {what}: expected {count} bytes, found {self.left}: cut short?")
        self.offset += count
        return self._data[self.offset - count : self.offset]

    def number(self, most: int, what: str) -> int:
        """Returns the next number.

        Raises:
            FileFormatError: it is cut short, larger than ``most``, or in more bytes than it needs.
        """
        start, found = self.place, 0
        for index in range(_MOST_BYTES):
            byte = self.take(1, what)[0]
            found |= (byte & 127) << 7 * index
            if byte < 128:
                if found > most:
                    raise FileFormatError(f"{start}: {what}: found {found}, expected at most {most}")
                if index and not byte:
                    break
                return found
        raise FileFormatError(f"{start}: {what}: not a number in its shortest form")

    def decoded(self, count: int, what: str) -> str:
        """Returns the next bytes as text.

        Raises:
            FileFormatError: fewer are left, or they are not UTF-8.
        """
        start = self.place
        try:
            return self.take(count, what).decode()
        except UnicodeDecodeError:
            raise FileFormatError(f"{start}: {what}: not UTF-8") from None

    def text(self, what: str) -> str:
        """Returns the text up to the next zero byte, which is taken too.

        Raises:
            FileFormatError: there is none, or the text is not UTF-8.
        """
        end = self._data.find(0, self.offset)
        if end < 0:
            raise FileFormatError(f"{self.place}: {what}: no zero byte ends it")
        found = self.decoded(end - self.offset, what)
        self.offset += 1
        return found

    def since(self, start: int) -> bytes:
        """Returns the bytes taken from ``start`` on."""
        return self._data[start : self.offset]

    def finish(self) -> None:
        """Raises FileFormatError unless all bytes are taken."""
        if self.left:
            raise FileFormatError(f"{self.place}: expected the end, found {self.left} more bytes")
