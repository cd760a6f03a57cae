"""Memory for values that are not needed all the time: those that are over give theirs to others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_ALIGNMENT = 16  # float32 values: a line of the cache


class Use(NamedTuple):
    """A piece of memory.

    Attributes:
        size: float32 values.
        first: number of the step that writes it.
        last: number of the last step that reads it.
    """

    size: int
    first: int
    last: int


def places(uses: list[Use]) -> tuple[list[int], int]:
    """Returns where each piece begins, and the size of all: the large ones first, each where it fits."""
    found = [0] * len(uses)
    placed: list[int] = []
    for index in sorted(range(len(uses)), key=lambda index: -uses[index].size):
        use = uses[index]
        start = 0
        others = [each for each in placed if uses[each].first <= use.last and use.first <= uses[each].last]
        for other in sorted(others, key=lambda each: found[each]):
            if start + use.size <= found[other]:
                break
            start = max(start, _rounded(found[other] + uses[other].size))
        found[index] = start
        placed.append(index)
    return found, max((start + use.size for start, use in zip(found, uses, strict=True)), default=0)


def aligned(size: int) -> npt.NDArray[np.float32]:
    """Returns zeros at the start of a line of the cache."""
    whole = np.zeros(size + _ALIGNMENT, np.float32)
    start = -whole.ctypes.data // whole.itemsize % _ALIGNMENT
    return whole[start : start + size]


def _rounded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
