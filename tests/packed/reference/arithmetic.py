"""Arithmetic coding."""

from __future__ import annotations

from tests.packed.reference.cursor import check


class Decoder:
    """A stream of binary decisions."""

    def __init__(self, data: bytes) -> None:
        self.data, self.range = iter(data), (1 << 32) - 1
        self.code = int.from_bytes(bytes(next(self.data, 0) for _ in range(4)), "big")

    def expect_valid(self) -> None:
        check(self.code < self.range, "the stream begins with four bytes of 255")

    def decide(self, p: int) -> int:
        bound = (self.range >> 16) * p
        bit = int(self.code < bound)
        if bit:
            self.range = bound
        else:
            self.code, self.range = self.code - bound, self.range - bound
        while self.range < 1 << 24:
            self.range, self.code = self.range << 8, self.code << 8 | next(self.data, 0)
        return bit


class Known:
    """Bits that are known: what is only learnt from."""

    def __init__(self, data: bytes) -> None:
        self.bits = (byte >> bit & 1 for byte in data for bit in range(7, -1, -1))

    def decide(self, p: int) -> int:
        return next(self.bits)
