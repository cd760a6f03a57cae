"""Shows the progress of a long job: a bar on a terminal, a line every minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")

EVERY = 60.0  # seconds between two lines
_BETWEEN = 0.2  # seconds between two updates of a bar


class ProgressBar:
    """Shows the progress of a job on stderr.

    On a terminal it is a bar at the bottom, below the other lines, and disappears at the end. Elsewhere, such as in
    the log of a batch job, it is a line every minute.

    Args:
        what: name of the job.
        total: size of the job; None while it is unknown.
        lines: whether to write lines if there is no terminal.
    """

    def __init__(self, what: str, total: int | None = None, lines: bool = True) -> None:
        self._what, self._total, self._lines = what, total, lines
        self._start = time.monotonic()
        self._next = self._start + EVERY
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if sys.stderr is not None and sys.stderr.isatty():
            self._bar, self._next = _terminal_bar(), self._start
            self._bar.add_task(self._what, total=self._total, note="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def is_due(self) -> bool:
        """Returns whether :meth:`update` would show something now, for callers whose arguments are costly."""
        return bool(self._bar or self._lines) and time.monotonic() >= self._next

    def update(self, done: int, total: int | None = None, note: str = "", what: str = "") -> None:
        """Shows the progress, if the last update is long enough ago.

        Args:
            done: how much of the total is done.
            total: size of the job, if it was unknown before.
            note: a note to show.
            what: name of the job, if it has changed.
        """
        self._total = self._total if total is None else total
        if not self.is_due():
            return
        self._what = what or self._what
        now = time.monotonic()
        self._next = now + (_BETWEEN if self._bar else EVERY)
        if self._bar:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=done, total=self._total, description=self._what, note=note)
        elif sys.stderr is not None:
            print(self._line(done, note, now - self._start), file=sys.stderr, flush=True)

    def _line(self, done: int, note: str, seconds: float) -> str:
        share = f" of {self._total:,} ({done / self._total:.0%})".replace("%", " %") if self._total else ""
        return ", ".join(filter(None, [f"{self._what}: {done:,}{share}", note, f"{seconds / 60:.0f} min"]))


@cache
def announce(what: str) -> None:
    """Explains the delay of compiling something on a terminal, once."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(f"compiling {what} for this machine; this takes some seconds, only once", file=sys.stderr, flush=True)


def tracked(items: Sequence[T], what: str) -> Iterator[T]:
    """Yields the items, and shows the number of items done."""
    with ProgressBar(what, len(items)) as bar:
        for done, item in enumerate(items):
            bar.update(done)
            yield item


def _terminal_bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    texts = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[note]}", markup=False)
    columns = texts[0], MofNCompleteColumn(), BarColumn(bar_width=None), texts[1], TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)
