"""Progress of training, and of jobs that count what is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from demitasse.progress import ProgressBar


class TrainingBar(ProgressBar):
    """Shows stage, epoch, iteration, loss, learning rate, sparsity and frozen share; see :class:`ProgressBar`.

    Args:
        what: the stage.
        total: the number of iterations.
        lines: see :class:`ProgressBar`.
    """

    def show(
        self, iteration: int, loss: float, rate: float, sparsity: float = 0.0, frozen: float = 0.0, what: str = ""
    ) -> None:
        """Shows the state of the run.

        Args:
            iteration: updates done.
            loss: smoothed.
            rate: the learning rate.
            sparsity: share of the weights that are cut, 0 to 1.
            frozen: share of the weights that are frozen at a power of two, 0 to 1.
            what: the stage and its epoch.
        """
        text = f"loss {loss:.4g}  lr {rate:.3g}"
        text += f"  cut {sparsity:.2%}" if sparsity else ""
        text += f"  frozen {frozen:.2%}" if frozen else ""
        self.update(iteration, note=text, what=what)


@contextmanager
def count_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Gives ``update(done, total)`` for a bar that counts what is done of a job."""
    with ProgressBar(what) as bar:
        yield bar.update
