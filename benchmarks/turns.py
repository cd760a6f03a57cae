"""Sides that take turns, so that a busy machine slows all of them down alike, and the table of what that gives."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

# what a side does; it returns its own milliseconds, or anything else to be timed from outside
Run = Callable[[], object]

# seconds before each turn, in which the threads of the side before stop looking for work
_PAUSE = 0.01
# rounds that do not count; and the milliseconds that a turn takes at least, by several runs of what is quick
_WARM, _LEAST = 2, 30


class Turns(NamedTuple):
    """Side -> milliseconds by round."""

    times: dict[str, list[float]]

    def median(self, side: str) -> float:
        return statistics.median(self.times[side])

    def fastest(self, sides: Sequence[str]) -> str:
        """Returns the side with the least median."""
        return min((side for side in sides if side in self.times), key=self.median)

    def ratio(self, side: str, sides: Sequence[str]) -> float | None:
        """Returns the median over the rounds of the time by that of the fastest of some sides; None without these."""
        if not any(each in self.times for each in sides):
            return None
        other = self.times[self.fastest(sides)]
        return statistics.median(a / b for a, b in zip(self.times[side], other, strict=True))


def take_turns(runs: Mapping[str, Run], rounds: int, clock: Callable[[], float] = time.perf_counter) -> Turns:
    """Returns how long a run of each side takes in each round: the mean of the runs of its turn."""
    times: dict[str, list[float]] = {side: [] for side in runs}
    counts = dict.fromkeys(runs, 1)
    for number in range(rounds + _WARM):
        for side, run in runs.items():
            time.sleep(_PAUSE)
            took = _turn(run, counts[side], clock)
            if number >= _WARM:
                times[side].append(took)
            else:
                counts[side] = max(1, round(_LEAST / max(took, 1e-3)))
    return Turns(times)


def _turn(run: Run, count: int, clock: Callable[[], float]) -> float:
    start = clock()
    own = [run() for _ in range(count)]
    took = 1000 * (clock() - start)
    return statistics.mean(each if isinstance(each, float) else took / count for each in own)


class ResultTable:
    """A row for each measurement: its labels, the median of each side, ratios, and notes.

    Args:
        labels: headings of what tells the rows apart.
        sides: in the order of their columns.
        ratios: heading -> the sides of which the fastest is what the first side is divided by.
        notes: headings of further columns.
    """

    def __init__(
        self,
        labels: Sequence[str],
        sides: Sequence[str],
        ratios: Mapping[str, Sequence[str]],
        notes: Sequence[str] = (),
    ) -> None:
        self.sides, self.ratios = sides, ratios
        self._table = Table(*labels, *(f"{side}, ms" for side in sides), *ratios, *notes)

    def add(self, labels: Sequence[object], turns: Turns, notes: Sequence[str] = ()) -> None:
        """Adds a row, and shows it on stderr: the table comes at the end."""
        medians = [f"{turns.median(side):.3g}" if side in turns.times else "" for side in self.sides]
        found = [turns.ratio(self.sides[0], others) for others in self.ratios.values()]
        cells = [*map(str, labels), *medians, *("" if each is None else f"{each:.2f}" for each in found), *notes]
        print(*cells, sep=" | ", file=sys.stderr, flush=True)
        self._table.add_row(*cells)

    def show(self) -> None:
        Console(width=200).print(self._table)
