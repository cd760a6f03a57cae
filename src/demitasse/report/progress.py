"""Progress bars, on a terminal only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class TrainingBar:
    """Shows iteration, loss, learning rate, sparsity and frozen share at the foot of the terminal.

    Lines that are logged to stderr meanwhile scroll above it. Where stderr is not a terminal it does nothing.

    Args:
        total: the number of iterations.
        interval: the least time between two updates, in seconds.
    """

    def __init__(self, total: int, interval: float = 0.5) -> None:
        self._interval = interval
        self._next = 0.0
        self._progress = Progress(
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> TrainingBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def is_due(self) -> bool:
        """Returns whether it is time for :meth:`update`."""
        return not self._progress.disable and time.monotonic() >= self._next

    def update(self, iteration: int, loss: float, rate: float, sparsity: float, frozen: float) -> None:
        """Shows the state of the run.

        Args:
            iteration: updates done.
            loss: smoothed.
            rate: the learning rate.
            sparsity: share of the weights that are cut, 0 to 1.
            frozen: share of the weights that are frozen at a power of two, 0 to 1.
        """
        self._next = time.monotonic() + self._interval
        text = f"loss {loss:.4g}  lr {rate:.3g}"
        text += f"  cut {sparsity:.2%}" if sparsity else ""
        text += f"  frozen {frozen:.2%}" if frozen else ""
        self._progress.update(self._task, completed=iteration, description=text)


@contextmanager
def count_bar() -> Iterator[Callable[[int, int], None]]:
    """Gives ``update(done, total)`` for a bar that counts what is done."""
    columns = MofNCompleteColumn(), BarColumn(bar_width=None), TimeRemainingColumn()
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
