"""Weights in flash: streams of bytes that a loop reads once, from the first row to the last.

A stream names the weights that are not zero by the gaps between them, which go on from row to row, and each weight by a
code. The last gap ends behind the matrix. There are three forms that are read fast, see :data:`FORMS`, and one that is
smaller, see :mod:`demitasse.export.c_source.adaptive`; the C that reads them is in
:mod:`demitasse.export.c_source.text`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from demitasse.export.c_source.adaptive import encoded

Codes = npt.NDArray[np.int64]

# a stream of another form may be larger by this factor if it is read faster
_SLACK = 1.05
_FASTEST_FIRST = ("dense", "nibbles", "bits")


class RiceCode(NamedTuple):
    """A truncated Rice code: n >> shift ones, a zero unless it is ``most`` ones already, and the low bits of n.

    A code of ``most`` 0 is a number of fixed width.

    Attributes:
        shift: how many low bits are written as they are.
        most: the most ones.

    Reference: Rice, Plaunt 1971, Adaptive variable-length coding for efficient compression of spacecraft data.
    """

    shift: int
    most: int

    @classmethod
    def best(cls, numbers: Codes) -> RiceCode:
        """Returns the code that takes the fewest bits for whole numbers from 0 on."""
        highest = int(numbers.max(initial=0))
        codes = [cls(shift, highest >> shift) for shift in range(highest.bit_length() + 1)]
        return min(codes, key=lambda code: code.bits(numbers))

    def bits(self, numbers: Codes) -> int:
        """Returns how many bits numbers take."""
        ones = numbers >> self.shift
        return int(ones.sum() + np.count_nonzero(ones < self.most)) + self.shift * len(numbers)

    def text(self, number: int) -> str:
        """Returns a number as zeros and ones."""
        ones, low = number >> self.shift, number & ((1 << self.shift) - 1)
        return "1" * ones + "0" * (ones < self.most) + (format(low, f"0{self.shift}b") if self.shift else "")


class WeightStream(NamedTuple):
    """The weights of a layer.

    Attributes:
        form: a key of :data:`FORMS`, or ``adaptive``.
        content: the bytes.
        gap: how ``bits`` has gaps.
        code: how ``bits`` has codes.
        width: of ``adaptive``: the bits of a code but its lowest one.
        share: of ``adaptive``: the probability at first that a weight is not zero, in 1/256.
    """

    form: str
    content: bytes
    gap: RiceCode = RiceCode(0, 0)
    code: RiceCode = RiceCode(0, 0)
    width: int = 0
    share: int = 0


def stream(codes: Codes) -> WeightStream:
    """Returns the stream of a matrix of codes, (rows, columns), 0 for a weight of 0; codes count from 1.

    It is the smallest one, or one that is hardly larger and read faster.
    """
    made = [found for form in _FASTEST_FIRST if (found := FORMS[form](codes)) is not None]
    least = min(len(each.content) for each in made)
    return next(each for each in made if len(each.content) <= least * _SLACK)


def _dense(codes: Codes) -> WeightStream | None:
    """Two codes a byte, the first one in the low half; None if there are more than 15."""
    if codes.max(initial=0) > 15:
        return None
    flat = codes.reshape(-1).astype(np.uint8)
    flat = np.append(flat, np.zeros(len(flat) % 2, np.uint8))
    return WeightStream("dense", (flat[::2] | flat[1::2] << 4).tobytes())


def _nibbles(codes: Codes) -> WeightStream | None:
    """A byte a weight: the gap less one in the high half, the code in the low half, 0 for a gap that goes on by 16."""
    if codes.max(initial=0) > 15:
        return None
    content = bytearray()
    for gap, code in _entries(codes):
        fillers, rest = divmod(gap, 16)
        content += bytes([0xF0]) * fillers + bytes([rest << 4 | code])
    return WeightStream("nibbles", bytes(content))


def _bits(codes: Codes) -> WeightStream:
    """For each weight the gap less one, then the code less one, both by Rice codes: frequent codes should be small.

    Bits fill bytes from the highest on.
    """
    entries = _entries(codes)
    gaps = np.array([gap for gap, _ in entries])
    used = np.array([code - 1 for _, code in entries[:-1]], np.int64)
    gap_code, code_code = RiceCode.best(gaps), RiceCode.best(used)
    text = "".join(gap_code.text(gap) + (code_code.text(code - 1) if code else "") for gap, code in entries)
    text += "0" * (-len(text) % 8)
    content = int(f"1{text}", 2).to_bytes(len(text) // 8 + 1, "big")[1:]
    return WeightStream("bits", content, gap_code, code_code)


def by_frequency(values: Codes) -> tuple[Codes, Codes]:
    """Returns the different values in a list, the most frequent ones first, and the place of each value there."""
    different, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return different[order], np.argsort(order, kind="stable")[places]


def _entries(codes: Codes) -> list[tuple[int, int]]:
    """Returns the gap less one before each weight and its code, and last the gap to behind the matrix, and 0."""
    flat = codes.reshape(-1)
    places = [*map(int, np.flatnonzero(flat)), len(flat)]
    gaps = np.diff([-1, *places]) - 1
    return list(zip(map(int, gaps), [*(int(flat[place]) for place in places[:-1]), 0], strict=True))


# name -> makes the stream; None where it cannot hold the codes
FORMS: dict[str, Callable[[Codes], WeightStream | None]] = {"dense": _dense, "nibbles": _nibbles, "bits": _bits}


def smallest_streams(layers: Sequence[Codes]) -> list[WeightStream]:
    """Returns the streams of the layers of a net, which take the fewest bytes together with the code that reads them.

    Args:
        layers: the codes of each, 0 for a weight of 0; codes count from 1, frequent ones first.
    """
    made = [{form: found for form, make in _SMALLEST.items() if (found := make(codes)) is not None} for codes in layers]
    return min(_choices(made), key=_bytes_of)


def _choices(made: Sequence[dict[str, WeightStream]]) -> Iterator[list[WeightStream]]:
    """Yields the smallest streams with the forms of each set that holds all layers."""
    for count in range(1, len(_SMALLEST) + 1):
        for forms in combinations(_SMALLEST, count):
            found = [[of[form] for form in forms if form in of] for of in made]
            if all(found):
                yield [min(each, key=lambda one: len(one.content)) for each in found]


def _bytes_of(streams: Sequence[WeightStream]) -> int:
    return sum(len(each.content) for each in streams) + sum(
        _CODE_BYTES[form] for form in {each.form for each in streams}
    )


def _adaptive(codes: Codes) -> WeightStream | None:
    found = encoded(codes)
    return found and WeightStream("adaptive", found.content, width=found.depth, share=found.share)


_SMALLEST = {**FORMS, "adaptive": _adaptive}
# what the functions that read a form take on Cortex-M0, by gcc -Os
_CODE_BYTES = {"dense": 40, "nibbles": 24, "bits": 122, "adaptive": 250}


def numbers(values: Sequence[int]) -> bytes:
    """Returns whole numbers below 2^31 in seven bits a byte, the lowest first; the sign is the lowest bit of all."""
    content = bytearray()
    for value in values:
        left = value * 2 if value >= 0 else -value * 2 - 1
        while left > 127:
            content.append(left & 127 | 128)
            left >>= 7
        content.append(left)
    return bytes(content)
