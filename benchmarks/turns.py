"""Sides that take turns, so that a busy machine slows all of them down alike, and the table of their times."""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

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

    def ratio(self, side: str, sides: Sequence[str]) -> float:
        """Returns the median over the rounds of the time by that of the fastest of some sides; NaN without these."""
        if not any(each in self.times for each in sides):
            return math.nan
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
    """A table in Markdown, of which each row is printed as soon as it is there.

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
        headings = [*labels, *(f"{side}, ms" for side in sides), *ratios, *notes]
        _print_row(headings)
        _print_row(["---"] * len(labels) + ["--:"] * (len(headings) - len(labels)))

    def add(self, labels: Sequence[object], turns: Turns, notes: Sequence[str] = ()) -> None:
        medians = [_number(turns.median(side)) if side in turns.times else "" for side in self.sides]
        found = [turns.ratio(self.sides[0], others) for others in self.ratios.values()]
        _print_row(
            [*map(str, labels), *medians, *("" if math.isnan(each) else f"{each:.2f}" for each in found), *notes]
        )


def _number(milliseconds: float) -> str:
    return f"{milliseconds:.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"


def _print_row(cells: Sequence[str]) -> None:
    print("|", " | ".join(cells), "|", flush=True)


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Returns the arguments of a benchmark, among them ``threads``, a list, and the ``clock``."""
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--processor-time", action="store_true", help="of one thread, in place of the clock's time")
    args = parser.parse_args()
    args.clock = time.process_time if args.processor_time else time.perf_counter
    args.threads = [int(each) for each in args.threads.split(",")]
    if args.processor_time and args.threads != [1]:
        parser.error("--processor-time needs --threads 1")
    return args
