"""Where tensors lie in the arena: those that are over give their bytes to others."""

from __future__ import annotations

from typing import NamedTuple


class Claim(NamedTuple):
    """Bytes of the arena.

    Attributes:
        size: in bytes.
        first: number of the operation that writes them first.
        last: number of the last operation that uses them.
    """

    size: int
    first: int
    last: int


def offsets(claims: list[Claim], alignment: int = 4) -> tuple[list[int], int]:
    """Returns the first byte of each claim, and the bytes of all: the large ones first, each where it fits."""
    found = [0] * len(claims)
    placed: list[int] = []
    for index in sorted(range(len(claims)), key=lambda index: -claims[index].size):
        claim, start = claims[index], 0
        at_once = [each for each in placed if claims[each].first <= claim.last and claim.first <= claims[each].last]
        for other in sorted(at_once, key=lambda each: found[each]):
            if start + claim.size <= found[other]:
                break
            start = max(start, -(-(found[other] + claims[other].size) // alignment) * alignment)
        found[index] = start
        placed.append(index)
    return found, max((start + claim.size for start, claim in zip(found, claims, strict=True)), default=0)
