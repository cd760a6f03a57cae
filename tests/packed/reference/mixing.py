"""Mixing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from operator import mul

from tests.packed.reference.arithmetic import Decoder, Known

_ONE = 1 << 64
_TERMS = list(accumulate(range(1, 12), lambda term, i: term // (1024 * i), initial=_ONE))
_E = list(accumulate(range(12288), lambda e, _: e * sum(_TERMS) >> 64, initial=_ONE))


def clip(x: int, least: int, most: int) -> int:
    return max(least, min(x, most))


_UPPER = [clip(((e << 16 << 65) // (e + _ONE) + _ONE) >> 65, 1, 65535) for e in _E]
_SQUASH = [clip(65536 - p, 1, 65535) for p in _UPPER[:0:-1]] + _UPPER
LOGIT = [
    clip((bisect_left(_SQUASH, p) + bisect_right(_SQUASH, p)) // 2, 0, 24576) - 12288 for p in (1, *range(1, 65536))
]
_LOG = [bisect_left(_E, _ONE + _ONE * m // 1024) for m in range(1024)]


def squash(x: int) -> int:
    return _SQUASH[clip(x, -12288, 12288) + 12288]


def log(x: int) -> int:
    b = x.bit_length() - 1
    f = x >> (b - 10) if b >= 10 else x << (10 - b)
    return _LOG[f - 1024] + (b * 726817 >> 10)


class Mixer:
    """The slots of the contexts, by number."""

    def __init__(self, contexts: int, ease: int, limit: int) -> None:
        self.slots: list[dict[int, int]] = [{} for _ in range(contexts)]
        self.limit, self.rates = limit, [131072 // (2 * (n + ease) + 3) for n in range(limit + 1)]

    def slot(self, context: int, number: int) -> int:
        return self.slots[context].get(number, 0)

    def decide(
        self,
        decoder: Decoder | Known,
        numbers: Sequence[int],
        weights: list[int],
        base: int,
        pace: int,
        more: Sequence[int] = (),
    ) -> int:
        """Decodes a decision, of which each context has the slot of a number, and learns from it."""
        fresh = squash(base) << 16
        slots = [table.get(number, fresh) for table, number in zip(self.slots, numbers, strict=True)]
        inputs = [LOGIT[slot >> 16] - base for slot in slots]
        inputs += more
        p = squash(base + (sum(map(mul, weights, inputs)) >> 16))
        bit = decoder.decide(p)
        error = ((bit << 16) - p) * pace
        weights[:] = [weight + ((error * x + (1 << 29)) >> 30) for weight, x in zip(weights, inputs, strict=True)]
        for table, number, slot in zip(self.slots, numbers, slots, strict=True):
            n, probability = slot & 1023, slot >> 10
            probability += ((bit << 22) - probability) * self.rates[n] >> 16
            table[number] = probability << 10 | min(n + 1, self.limit)
        return bit
