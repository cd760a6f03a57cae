"""Base of sources that prefetch their batches in threads.

Threads are used instead of processes because Pillow and compiled loops release Python's lock: two threads decode 0.93
times as fast as two processes, batches need not be copied, and there is no shared memory and no process to lose.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.sources.base import Source, State

WORKERS = 1  # as in Caffe

Plan = TypeVar("Plan")
Batch = tuple[list[Tensor], State]


class AheadSource(Source, Generic[Plan]):
    """A source that makes its batches in two steps, the second of which runs in several threads.

    :meth:`plan_batch` decides what the next batch consists of. Only it advances in the data and draws random numbers,
    and its calls are sequential. :meth:`make_batch` depends only on the plan. So the batches are bit-identical for any
    number of workers. At most ``data_param.prefetch`` batches (by default 4, as in Caffe) are made ahead.
    """

    workers = WORKERS

    @abstractmethod
    def __init__(self, spec: schema.LayerParameter, phase: int) -> None:
        self._most = max(spec.data_param.prefetch, 1)
        self._ahead: deque[Future[Batch]] = deque()
        self._reached: State = {}
        self._threads: tuple[ThreadPoolExecutor, ...] = ()
        super().__init__(spec, phase)

    @abstractmethod
    def plan_batch(self) -> Plan:
        """Returns the plan of the next batch, and advances to the batch after it."""

    @abstractmethod
    def make_batch(self, plan: Plan) -> list[Tensor]:
        """Returns the batch of a plan; called in any thread."""

    @abstractmethod
    def rewind(self) -> None:
        """Returns to the beginning of the data."""

    @abstractmethod
    def position(self) -> State:
        """Returns the position of the next plan, as plain values for JSON."""

    @abstractmethod
    def seek(self, position: State) -> None:
        """Moves to a position returned by :meth:`position`.

        Raises:
            DataError: there is no such position.
        """

    @override
    def next_batch(self) -> list[Tensor]:
        if not self.workers:
            self._discard_prefetched()
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
        self._stop_threads()
        super().seed(value)
        self.rewind()

    @override
    def state(self) -> State:
        return self._reached if self._threads else self.position()

    @override
    def restore(self, state: State) -> None:
        self._stop_threads()
        self.seek(state)

    @override
    def close(self) -> None:
        self._stop_threads()

    def _plan(self) -> tuple[Plan, State]:
        return self.plan_batch(), self.position()

    def _make(self, planned: Future[tuple[Plan, State]]) -> Batch:
        plan, reached = planned.result()
        if not threading.main_thread().is_alive():  # the program is ending, and waits for its threads
            raise CancelledError
        return self.make_batch(plan), reached

    def _discard_prefetched(self) -> None:
        """Moves back to the position after the last batch that was read, if others were prefetched."""
        if self._threads:
            self.restore(self._reached)

    def _stop_threads(self) -> None:
        """Ends the threads, and discards the batches that they have made."""
        for pool in self._threads:
            pool.shutdown(cancel_futures=True)
        self._threads = ()
        self._ahead.clear()
