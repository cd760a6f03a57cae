"""Which windows of a convolution tell its moments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Sample(NamedTuple):
    """Which windows of a convolution to take: all, or evenly spaced ones.

    Neighbouring windows are much alike, so some of them tell nearly as much as all.

    Attributes:
        most: about how many windows of each example; None for all.
        turn: number of the batch; the first window moves with it, so that every place has its turn.
    """

    most: int | None = None
    turn: int = 0

    def places(self, counts: Sequence[int]) -> list[range]:
        """Returns the windows to take along each axis, from the number of all."""
        total = math.prod(counts)
        step = 1
        if self.most is not None and total > self.most:
            step = int((total / self.most) ** (1 / len(counts)))
        return [range(self.turn // step**axis % step, count, step) for axis, count in enumerate(counts)]


EVERY = Sample()
