"""Bytes, shorts and texts, read from the front."""

from __future__ import annotations


def check(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


class Cursor:
    """Bytes, read from the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, count: int) -> bytes:
        check(count <= len(self.data) - self.place, "it ends too early")
        self.place += count
        return self.data[self.place - count : self.place]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def short(self, most: int = (1 << 63) - 1) -> int:
        value = shift = 0
        while (byte := self.number(1)) >= 128:
            value |= (byte - 128) << shift
            shift += 7
            check(shift < 63, "a short is too long")
        check(byte > 0 or shift == 0, "a short is not in its shortest form")
        value |= byte << shift
        check(value <= most, "a number is too large")
        return value

    def text(self) -> str:
        """What stands before the next zero byte."""
        end = self.data.find(0, self.place)
        check(end >= 0, "a name does not end")
        text = self.take(end - self.place).decode()
        self.place += 1
        return text

    def end(self) -> None:
        check(self.place == len(self.data), "more bytes than expected")
