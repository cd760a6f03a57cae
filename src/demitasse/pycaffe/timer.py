"""Timer: measures elapsed time."""

from __future__ import annotations

import time

import torch

from demitasse.pycaffe.mode import current_device


class Timer:
    """Measures the time between :meth:`start` and :meth:`stop`; on a GPU, including the work that was launched."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._seconds = 0.0

    def start(self) -> None:
        """Starts a measurement, unless one is running."""
        if self._started is None:
            self._started = _now()

    def stop(self) -> None:
        """Ends the measurement."""
        if self._started is not None:
            self._seconds = _now() - self._started
            self._started = None

    @property
    def ms(self) -> float:
        """The measured time in milliseconds; ends the measurement."""
        self.stop()
        return self._seconds * 1000


def _now() -> float:
    if current_device().type == "cuda":
        torch.cuda.synchronize(current_device())
    return time.perf_counter()
