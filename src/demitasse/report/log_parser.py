"""Parses Caffe's log lines into numbers, for pictures, tables and comparisons."""

from __future__ import annotations

import codecs
import math
import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from demitasse.errors import FileFormatError
from demitasse.report.log_time import Clock

_NUMBER = r"([-+\w.#]+)"
# glog's prefix ends with a bracket; -log_prefix=false leaves it out
_START = r"(?:\]|^)\s*"
# NVIDIA's Caffe also writes the epochs: "Iteration 100 (12 iter/s, 8s/100 iter), 1.9/19.2ep, loss = 0.5"
_TRAIN = re.compile(rf"{_START}Iteration (\d{{1,18}})(?: \([^)]*\))?(?:, [\d.]+/[\d.]+ep)?, loss = {_NUMBER}")
_RATE = re.compile(rf"{_START}Iteration (\d{{1,18}}), lr = {_NUMBER}")
# the first versions of Caffe had one test net, and no number for it
_TESTING = re.compile(rf"{_START}Iteration (\d{{1,18}}), Testing net(?: \(#(\d+)\))?")
_BEGIN = re.compile(rf"{_START}(?:Solving |Starting Optimization|Restoring previous solver status)")
_ITERATION = re.compile(rf"{_START}Iteration (\d{{1,18}})(?:,| \()")
_OUTPUT = re.compile(rf"{_START}(Train|Test) net output #(\d+): (\S.*?) = {_NUMBER}")


@dataclass
class Series:
    """Values over iterations, in the order of the log, with the seconds since the start if they are known."""

    iterations: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, iteration: int, value: float, seconds: float) -> None:
        """Appends a value."""
        self.iterations.append(iteration)
        self.values.append(value)
        self.seconds.append(seconds)


@dataclass
class LogRow:
    """The outputs of a net at one iteration.

    Attributes:
        iteration: the iteration, counted from 0.
        seconds: seconds since the start.
        rate: the last learning rate in the log before; NaN if there is none.
        outputs: name -> number of the output in the log -> value; most names have one value.
    """

    iteration: int
    seconds: float
    rate: float
    outputs: dict[str, dict[int, float]] = field(default_factory=dict)


@dataclass
class TrainingLog:
    """The numbers in the log of one training run.

    Attributes:
        loss: the smoothed training loss.
        lr: the learning rate.
        tests: outputs of the test nets; the names for net #1 and later nets include the number: ``accuracy (#1)``.
            An output with several values has one series with all of them, which repeats the iteration.
        train_rows: outputs of the training net, one row for each iteration.
        test_rows: outputs of the test nets, one row for each iteration, with the names of ``tests``.
        runs: how many runs of training the file holds, if they were told apart.
    """

    loss: Series = field(default_factory=Series)
    lr: Series = field(default_factory=Series)
    tests: dict[str, Series] = field(default_factory=dict)
    train_rows: list[LogRow] = field(default_factory=list)
    test_rows: list[LogRow] = field(default_factory=list)
    runs: int = 1


def lines_of(path: str | Path) -> list[str]:
    """Returns the lines of a log, in UTF-8 or, as the PowerShell of Windows redirects it, UTF-16.

    Raises:
        FileFormatError: the file cannot be read.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror}") from error
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_wide else "utf-8-sig", errors="replace").splitlines()


def without_repeats(lines: Iterable[str]) -> tuple[list[str], int]:
    """Leaves out what a later run in the same log did again: the iterations of earlier runs from its first one on.

    A run that was resumed goes on from a snapshot; one that began anew replaces the earlier one.

    Args:
        lines: the lines of a log.

    Returns:
        The remaining lines, and the number of runs.
    """
    kept: list[str] = []
    begun: list[tuple[int, int]] = []  # iterations, which rise, and the number of the first line of each
    runs, begins = 1, False
    for line in lines:
        if _BEGIN.search(line):
            begins = True
        elif match := _ITERATION.search(line):
            iteration = int(match[1])
            # a run that goes on from the end of another one does its last iteration again
            if begun and (iteration < begun[-1][0] or (begins and iteration == begun[-1][0])):
                runs += 1
                again = bisect_left(begun, (iteration, 0))
                del kept[begun[again][1] if again else 0 :]
                del begun[again:]
            if not begun or iteration > begun[-1][0]:
                begun.append((iteration, len(kept)))
            begins = False
        kept.append(line)
    return kept, runs


def read_log(path: str | Path, latest: bool = False) -> TrainingLog:
    """Reads a log file.

    Args:
        path: the file.
        latest: whether to leave out what a later run in the same file did again, see :func:`without_repeats`.

    Raises:
        FileFormatError: the file cannot be read, or no line of it comes from a training run.
    """
    lines, runs = without_repeats(lines_of(path)) if latest else (lines_of(path), 1)
    log = parse_log(lines, datetime.fromtimestamp(Path(path).stat().st_ctime).year)
    if not (log.loss.values or log.tests):
        raise FileFormatError(f"{path}: found no line 'Iteration N, ...': not a log of a training run")
    log.runs = runs
    return log


def parse_log(lines: Iterable[str], year: int | None = None) -> TrainingLog:
    """Returns the numbers in the lines of a log; ignores other lines.

    Args:
        lines: the lines.
        year: year of the first line, if dates have none; Caffe's parser uses the year in which the file was created.
    """
    log, clock = TrainingLog(), Clock(year)
    iteration, suffix = 0, ""
    for line in lines:
        seconds = clock.seconds(line)
        if match := _TRAIN.search(line):
            iteration = int(match[1])
            log.loss.add(iteration, _float(match[2]), seconds)
        elif match := _RATE.search(line):
            log.lr.add(int(match[1]), _float(match[2]), seconds)
        elif match := _TESTING.search(line):
            iteration, suffix = int(match[1]), "" if match[2] in (None, "0") else f" (#{match[2]})"
        elif match := _OUTPUT.search(line):
            rate = log.lr.values[-1] if log.lr.values else math.nan
            row, number, value = LogRow(iteration, seconds, rate), int(match[2]), _float(match[4])
            if match[1] == "Train":
                _add(log.train_rows, row, match[3], number, value)
            else:
                _add(log.test_rows, row, match[3] + suffix, number, value)
                log.tests.setdefault(match[3] + suffix, Series()).add(iteration, value, seconds)
    return log


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        # "1.#INF" and "-1.#IND", as older C libraries of Windows print infinity and NaN
        return math.copysign(math.inf, -text.startswith("-")) if "#INF" in text.upper() else math.nan


def _add(rows: list[LogRow], row: LogRow, name: str, number: int, value: float) -> None:
    """Adds an output to the last row, or to ``row`` as a new one if another iteration or run began.

    An output that the last row already has comes from a second run in the same log. As in Caffe's parser, it begins a
    new row if the last row is full, that is if it has as many outputs as the first row; in the first row, and in a row
    that is not full, it replaces the earlier value.
    """
    if not rows or rows[-1].iteration != row.iteration or (_is_full(rows) and number in rows[-1].outputs.get(name, {})):
        rows.append(row)
    rows[-1].outputs.setdefault(name, {})[number] = value


def _is_full(rows: list[LogRow]) -> bool:
    return len(rows) > 1 and len(rows[-1].outputs) == len(rows[0].outputs)
