"""The times of log lines: ``I1123 08:27:37.111137``, and since glog 0.6 ``I20261123 08:27:37.111137``."""

from __future__ import annotations

import math
import re
from calendar import isleap
from datetime import datetime

_PREFIX = re.compile(r"\s*[IWEF](\d{4})?(\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{1,6})")
# for dates without a year: a year in which the 29th of February exists
_SOME_YEAR = 2000


class Clock:
    """Computes the seconds since the start of training, or since the first line if the log does not show the start.

    Args:
        year: year of the first line, if dates have none; None for a leap year, until a line has a year.
    """

    def __init__(self, year: int | None = None) -> None:
        self._start: datetime | None = None
        self._last: datetime | None = None
        self._solving = False
        self._year = year or _SOME_YEAR
        self._is_assumed = year is None

    def seconds(self, line: str) -> float:
        """Returns the seconds at this line; those of the previous line if it has no date, NaN if none had one yet."""
        moment = self._moment(line)
        begins = not self._solving and "Solving" in line
        if moment and (self._start is None or begins):
            self._start, self._solving = moment, begins
        self._last = moment or self._last
        return (self._last - self._start).total_seconds() if self._last and self._start else math.nan

    def _moment(self, line: str) -> datetime | None:
        match = _PREFIX.match(line)
        if not match:
            return None
        moment = [*map(int, match.groups()[1:6]), int(match[7].ljust(6, "0"))]
        if match[1]:
            found = _datetime(int(match[1]), moment)
            if found and self._is_assumed:
                self._is_assumed = False
                self._move(found.year - self._year)
                if self._last and (self._last - found).days >= 1:
                    self._move(-1)  # a new year has begun in between
            self._year = int(match[1])
            return found
        while moment[:2] == [2, 29] and not isleap(self._year):
            self._move(1)
        found = _datetime(self._year, moment)
        if found and self._last and (self._last - found).days >= 1:
            self._year += 1  # time goes forward: a new year has begun
            found = _datetime(self._year, moment)
        return found

    def _move(self, years: int) -> None:
        """Moves all times read so far by some years."""
        self._year += years
        self._start = self._start and _datetime(self._start.year + years, _rest(self._start))
        self._last = self._last and _datetime(self._last.year + years, _rest(self._last))


def _rest(moment: datetime) -> list[int]:
    return [moment.month, moment.day, moment.hour, moment.minute, moment.second, moment.microsecond]


def _datetime(year: int, rest: list[int]) -> datetime | None:
    month, day, hour, minute, second, microsecond = rest
    try:
        return datetime(year, month, day, hour, minute, second, microsecond)
    except ValueError:
        return None
