"""Progress bars of training and of other jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from demitasse.progress import ProgressBar


class TrainingBar(ProgressBar):
    """Shows stage, epoch, iteration, loss, learning rate, sparsity and frozen share; see :class:`ProgressBar`.

    Args:
        what: name of the stage.
        total: number of iterations.
        lines: see :class:`ProgressBar`.
    """

    def show(
        self, iteration: int, loss: float, rate: float, sparsity: float = 0.0, frozen: float = 0.0, what: str = ""
    ) -> None:
        """Shows the state of the run.

        Args:
            iteration: number of iterations done.
            loss: the smoothed loss.
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
    """Yields the function ``update(done, total)`` of a progress bar."""
    with ProgressBar(what) as bar:
        yield bar.update
