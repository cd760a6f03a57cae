"""Runs a graph from packed weights, with kernels of our own, on arrays: PyTorch takes no part in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from threading import RLock

import numpy as np

from demitasse.graph.graph import Graph
from demitasse.packed.sparse import Floats
from demitasse.runtime.native.llvm import Machine
from demitasse.runtime.native.lowering import Lowered, Memo, lowered
from demitasse.runtime.native.team import TEAM, Task

# bytes of values that stay in the cache
_CACHE = 1 << 20


class ArrayPlan:
    """Computes a graph for batches of one size, on the CPU, in float32.

    A batch whose values do not fit into the cache is computed in groups of images that do, each by one thread. What
    is left of the batch, such as an only image, is computed by all threads together.

    Args:
        graph: after all passes.
        batch: images of a batch.
        threads: that compute it.
        machine: what the kernels are for; by default this machine.
        memo: packed weights of other plans of the same graph, to which those of this one are added.

    Attributes:
        steps: names of the steps.

    Raises:
        NotNative: a step has no kernel.
    """

    def __init__(
        self, graph: Graph, batch: int, threads: int, machine: Machine | None = None, memo: Memo | None = None
    ) -> None:
        self._arguments = graph, batch, threads, machine, memo
        self.steps = {step.name for step in graph.steps}
        self._batch, self._threads, self._lock = batch, threads, RLock()
        memo = {} if memo is None else memo
        self._group = _images_of_a_group(graph, batch, threads)
        self._rounds = batch // (self._group * threads) if self._group else 0
        left = batch - self._rounds * self._group * threads
        self._workers = [lowered(graph, self._group, 1, machine, memo) for _ in range(threads if self._rounds else 0)]
        self._rest = lowered(graph, left, threads, machine, memo) if left or not self._rounds else None

    def __reduce__(self) -> tuple[type[ArrayPlan], tuple[object, ...]]:
        # addresses and threads are this process's own, so that a copy is made anew
        return type(self), self._arguments

    @property
    def programs(self) -> list[Lowered]:
        """What computes groups of images, a program for each thread, and then what computes the rest of a batch."""
        return [*self._workers, *([self._rest] if self._rest else [])]

    @property
    def nbytes(self) -> int:
        """Bytes of the weights in memory."""
        return sum(self.weights.values())

    @property
    def weights(self) -> dict[str, int]:
        """Name of a step -> bytes of its weights in memory."""
        return {name: held.nbytes for name, held in self.programs[0].weights.items()}

    def arrays(self, batch: Mapping[str, Floats]) -> dict[str, Floats]:
        """Returns the outputs by name for inputs by name."""
        with self._lock:
            made = self.programs[0]
            found = {
                name: np.empty((self._batch, *array.shape[1:]), np.float32) for name, array in made.outputs.items()
            }
            step = self._group * self._threads

            def work(thread: int, threads: int) -> None:
                for number in range(self._rounds):
                    start = number * step + thread * self._group
                    _compute(self._workers[thread], batch, found, slice(start, start + self._group))

            if len(self._workers) > 1:
                TEAM.run(Task(work, lambda: None, self._threads))
            elif self._workers:
                work(0, 1)
            if self._rest:
                _compute(self._rest, batch, found, slice(self._rounds * step, self._batch))
            return found


def _images_of_a_group(graph: Graph, batch: int, threads: int) -> int:
    """Returns how many images one thread computes at a time; 0 if all threads compute the batch together."""
    sizes = [math.prod(value.shape[1:]) for value in graph.values]
    most = max((sum(sizes[number] for number in (*step.inputs, *step.outputs)) for step in graph.steps), default=0)
    image = max(1, 4 * most)  # bytes of the values that are needed at the same time, about
    if batch == 1 or (threads == 1 and batch * image <= _CACHE):
        return 0
    return min(max(1, _CACHE // image), batch // threads)


def _compute(made: Lowered, batch: Mapping[str, Floats], found: Mapping[str, Floats], part: slice) -> None:
    for name, given in made.inputs.items():
        given[...] = batch[name][part]
    made.program.run()
    for name, array in made.outputs.items():
        found[name][part] = array
