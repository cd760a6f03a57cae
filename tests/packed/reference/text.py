"""The model of bytes: the header, and numbers."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path

from tests.packed.reference.arithmetic import Decoder, Known
from tests.packed.reference.mixing import Mixer, clip

PAGE = (Path(__file__).parents[3] / "docs/demi_format.md").read_text(encoding="utf-8")
_WRITTEN = PAGE.split("The primer, in")[1].split("```text")[1].split("```")[0].replace("\n", "")
PRIMER = _WRITTEN.encode().decode("unicode_escape").encode("latin-1")


class Bytes:
    """The model, and the bytes so far."""

    def __init__(self, width: int, bits: int) -> None:
        self.width, self.size, self.mixer, self.done = width, 1 << bits, Mixer(7, ease=0, limit=250), bytearray()
        self.rows = [[13107, 16384, 19661, 19661, 19661, 6554, 13107] for _ in range(5)]

    def decode(self, source: Decoder | Known, count: int) -> bytes:
        for _ in range(count):
            self.done.append(self.byte(source))
        return bytes(self.done[len(self.done) - count :])

    def byte(self, source: Decoder | Known) -> int:
        before = bytes(8) + self.done[-8:]
        place, same, (b4, b3, b2, b1) = len(self.done) % self.width, before[-self.width], before[-4:]
        two = b1 + 256 * b2
        three = two + 65536 * b3
        four = three + (b4 << 24)
        contexts = [place, *(place + 8 * (c + 1) for c in (b1, two, three, four, same, same + 256 * b1))]
        node = 1
        while node < 256:
            hashes = [((c << 8 | node) * 2654435761) & 0xFFFFFFFF for c in contexts]
            numbers = [(m ^ m >> 15) % self.size for m in hashes]
            row = max((j for j in range(5) if self.mixer.slot(j, numbers[j])), default=0)
            node = 2 * node + self.mixer.decide(source, numbers, self.rows[row], 0, 4194)
        return node & 255


def bits_of(every: int) -> int:
    return clip(every.bit_length() + 3, 10, 20)


@cache
def primed(bits: int) -> Bytes:
    """Returns the model that has learnt the primer."""
    model = Bytes(1, bits)
    model.decode(Known(PRIMER), len(PRIMER))
    return model


def decode_header(decoder: Decoder, count: int) -> bytes:
    decoder.expect_valid()
    return deepcopy(primed(bits_of(len(PRIMER) + count))).decode(decoder, count)


def decode_numbers(decoder: Decoder, count: int, width: int) -> list[int]:
    data = Bytes(width, bits_of(count * width)).decode(decoder, count * width)
    return [int.from_bytes(data[i : i + width], "big") for i in range(0, len(data), width)]
