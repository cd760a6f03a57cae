"""Threads that run a program together, and that no interrupt leaves waiting for each other.

An exception of a signal's handler, such as Ctrl-C's, may come between any two instructions of the main thread. So all
locks and queues here are written in C: a call of them happens wholly or not at all. And a run itself knows which
threads are done with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import RLock, Thread

# seconds after which a thread that waits looks again whether the others are done
_LOOK = 0.05


class Task:
    """One run.

    Args:
        work: takes the number of a thread, and the number of threads.
        abandon: makes threads that wait for each other in ``work`` go on.
        threads: the number of threads, this one included.
    """

    def __init__(self, work: Callable[[int, int], None], abandon: Callable[[], None], threads: int) -> None:
        self.work = work
        self.abandon = abandon
        self.threads = threads
        self.done: dict[int, bool] = {}  # number of a thread that has done its part


class Team:
    """The threads of this process, beside the one that calls."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._queues: list[SimpleQueue[Task]] = []
        self._ready: SimpleQueue[None] = SimpleQueue()
        self._process = 0

    def run(self, task: Task) -> None:
        """Runs a task on all its threads, and waits for them."""
        with self._lock:
            self._enlist(task.threads - 1)
            try:
                for queue in self._queues[: task.threads - 1]:
                    queue.put(task)
                task.work(0, task.threads)
                self._wait(task)
            except BaseException:
                self._settle(task)
                raise

    def _enlist(self, count: int) -> None:
        if self._process != os.getpid():  # a forked process has none of its parent's threads
            self._queues, self._ready, self._process = [], SimpleQueue(), os.getpid()
        while len(self._queues) < count:
            queue: SimpleQueue[Task] = SimpleQueue()
            number = len(self._queues) + 1
            Thread(target=_serve, args=(number, queue, self._ready), name=f"demitasse-{number}", daemon=True).start()
            self._queues.append(queue)

    def _wait(self, task: Task) -> None:
        while len(task.done) < task.threads - 1:
            try:
                self._ready.get(timeout=_LOOK)
            except Empty:
                continue

    def _settle(self, task: Task) -> None:
        """Ends a run whose results nobody wants: when this returns, no thread works on it."""
        while True:
            try:
                task.abandon()
                for queue in self._queues[: task.threads - 1]:
                    queue.put(task)  # it may have come before; a thread does it once
                self._wait(task)
                return
            except BaseException:
                continue


def _serve(number: int, queue: SimpleQueue[Task], ready: SimpleQueue[None]) -> None:
    while True:
        task = queue.get()
        if number in task.done:
            continue
        try:
            task.work(number, task.threads)
        finally:
            task.done[number] = True
            ready.put(None)
            del task  # and with it the memory of the program


TEAM = Team()
