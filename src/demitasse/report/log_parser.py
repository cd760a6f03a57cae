"""Reads Caffe's log lines back into numbers, for pictures and comparisons."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from demitasse.errors import FileFormatError

_NUMBER = r"([-+\w.]+)"
_TRAIN = re.compile(rf"\] Iteration (\d+)(?: \([^)]*\))?, loss = {_NUMBER}")
_RATE = re.compile(rf"\] Iteration (\d+), lr = {_NUMBER}")
_TESTING = re.compile(r"\] Iteration (\d+), Testing net \(#(\d+)\)")
_OUTPUT = re.compile(rf"\]\s+Test net output #\d+: (\S+) = {_NUMBER}")


@dataclass
class Series:
    """Values over iterations, both in the order of the log."""

    iterations: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, iteration: int, value: float) -> None:
        self.iterations.append(iteration)
        self.values.append(value)


@dataclass
class Log:
    """What one training run said.

    Attributes:
        loss: the smoothed training loss.
        lr: the learning rate.
        tests: outputs of the test nets; the name of net #1 and further ones carries the number: ``accuracy (#1)``.
            An output with several values has one series with all of them, an iteration repeated for each.
    """

    loss: Series = field(default_factory=Series)
    lr: Series = field(default_factory=Series)
    tests: dict[str, Series] = field(default_factory=dict)


def read_log(path: str | Path) -> Log:
    """Reads a log file.

    Raises:
        FileFormatError: the file cannot be read, or no line of it comes from a training run.
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror}") from None
    log = parse_log(text.splitlines())
    if not (log.loss.values or log.tests):
        raise FileFormatError(f"{path}: no line 'Iteration N, ...': not a log of training")
    return log


def parse_log(lines: Iterable[str]) -> Log:
    """Returns the numbers of the lines; lines of other kinds are passed over."""
    log = Log()
    iteration, suffix = 0, ""
    for line in lines:
        if match := _TRAIN.search(line):
            log.loss.add(int(match[1]), float(match[2]))
        elif match := _RATE.search(line):
            log.lr.add(int(match[1]), float(match[2]))
        elif match := _TESTING.search(line):
            iteration, suffix = int(match[1]), "" if match[2] == "0" else f" (#{match[2]})"
        elif match := _OUTPUT.search(line):
            log.tests.setdefault(match[1] + suffix, Series()).add(iteration, float(match[2]))
    return log
