"""Sources that make their batches ahead of the training, in threads.

Threads, not processes: Pillow decodes and compiled loops run without Python's lock, so that two threads decode 0.93 of
what two processes do, and batches need not be carried over; there is no memory to share, no process to lose.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.sources.base import Source

WORKERS = 1  # Caffe's one thread

Batch = tuple[list[Tensor], dict[str, Any]]


class AheadSource(Source):
    """A source in two steps, of which threads run the second.

    :meth:`plan_batch` says what the next batch is made of. It alone moves in the data and draws random numbers, and its
    calls follow one another. :meth:`make_batch` depends on the plan alone. So the batches are the same, to the bit, for
    any number of workers. At most ``data_param.prefetch`` batches (Caffe's 4) are made ahead.
    """

    workers = WORKERS

    @abstractmethod
    def __init__(self, spec: schema.LayerParameter, phase: int) -> None:
        self._most = max(spec.data_param.prefetch, 1)
        self._ahead: deque[Future[Batch]] = deque()
        self._reached: dict[str, Any] = {}
        self._threads: tuple[ThreadPoolExecutor, ...] = ()
        super().__init__(spec, phase)

    @abstractmethod
    def plan_batch(self) -> Any:
        """Returns what the next batch is made of, and goes on behind it."""

    @abstractmethod
    def make_batch(self, plan: Any) -> list[Tensor]:
        """Returns the batch of a plan; runs in any thread."""

    @abstractmethod
    def rewind(self) -> None:
        """Goes to the beginning of the data."""

    @abstractmethod
    def position(self) -> dict[str, Any]:
        """Returns where the next plan begins, as plain values for JSON."""

    @abstractmethod
    def seek(self, position: dict[str, Any]) -> None:
        """Goes to what :meth:`position` returned; raises DataError where there is no such position."""

    @override
    def next_batch(self) -> list[Tensor]:
        if not self.workers:
            self._return()
            return self.make_batch(self.plan_batch())
        if not self._threads:
            self._reached = self.position()
            self._threads = (ThreadPoolExecutor(1, "plan"), ThreadPoolExecutor(self.workers, "make"))
        planner, makers = self._threads
        while len(self._ahead) < self._most:
            self._ahead.append(makers.submit(self._make, planner.submit(self._plan)))
        tops, self._reached = self._ahead.popleft().result()
        return tops

    @override
    def seed(self, value: int) -> None:
        self._drop()
        super().seed(value)
        self.rewind()

    @override
    def state(self) -> dict[str, Any]:
        return self._reached if self._threads else self.position()

    @override
    def restore(self, state: dict[str, Any]) -> None:
        self._drop()
        self.seek(state)

    @override
    def close(self) -> None:
        self._drop()

    def _plan(self) -> tuple[Any, dict[str, Any]]:
        return self.plan_batch(), self.position()

    def _make(self, planned: Future[tuple[Any, dict[str, Any]]]) -> Batch:
        plan, reached = planned.result()
        if not threading.main_thread().is_alive():  # the program ends; it waits for its threads
            raise CancelledError
        return self.make_batch(plan), reached

    def _return(self) -> None:
        """Goes back to behind the last batch that was read, where others were made ahead."""
        if self._threads:
            self.restore(self._reached)

    def _drop(self) -> None:
        """Ends the threads, and forgets what they have made."""
        for pool in self._threads:
            pool.shutdown(cancel_futures=True)
        self._threads = ()
        self._ahead.clear()
