"""The moments of log lines: ``I1123 08:27:37.111137`` of Caffe's day, ``I20261123 08:27:37.111137`` of ours."""

from __future__ import annotations

import math
import re
from datetime import datetime

_PREFIX = re.compile(r"\s*[IWEF](\d{4})?(\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{1,6})")
# dates without a year: the 29th of February must exist
_SOME_YEAR = 2000


class Clock:
    """Counts the seconds since training started, or since the first line of a log that does not show its start."""

    def __init__(self) -> None:
        self._start: datetime | None = None
        self._last: datetime | None = None
        self._solving = False
        self._year = _SOME_YEAR

    def seconds(self, line: str) -> float:
        """Returns the seconds at this line; a line without a date has those of the line before, NaN the first ones."""
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
        year, month, day, hour, minute, second = (int(part or self._year) for part in match.groups()[:6])
        try:
            moment = datetime(year, month, day, hour, minute, second, int(match[7].ljust(6, "0")))
            if not match[1] and self._last and (self._last - moment).days > 180:
                self._year += 1  # the new year began
                moment = moment.replace(year=self._year)
        except ValueError:
            return None
        return moment
