"""Runs a graph from packed weights, with kernels of our own."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping
from threading import RLock

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from demitasse.graph.graph import Graph
from demitasse.runtime.native.llvm import Machine
from demitasse.runtime.native.lowering import Lowered, Memo, NotNative, lowered
from demitasse.runtime.native.team import TEAM, Task

__all__ = ["Memo", "NativePlan", "NotNative"]

Arrays = dict[str, npt.NDArray[np.float32]]

# bytes of values that stay in the cache
_CACHE = 1 << 20


class NativePlan:
    """Computes a graph for batches of one size, on the CPU, in float32.

    A batch whose values do not fit into the cache is computed in groups of images that do, each by one thread. What
    is left of the batch, such as an only image, is computed by all threads together.

    Args:
        graph: after all passes.
        batch: images of a batch.
        threads: that compute it.
        machine: what the kernels are for; by default this machine.
        memo: packed weights of other plans of the same graph, to which those of this one are added.

    Raises:
        NotNative: a step has no kernel.
    """

    def __init__(
        self, graph: Graph, batch: int, threads: int, machine: Machine | None = None, memo: Memo | None = None
    ) -> None:
        self._arguments = graph, batch, threads, machine, memo
        self._lock = RLock()
        memo = {} if memo is None else memo
        self._threads = threads
        image = _bytes_of_image(graph)
        fits = threads == 1 and batch * image <= _CACHE
        self._group = 0 if batch == 1 or fits else min(max(1, _CACHE // image), batch // threads)
        self._rounds = batch // (self._group * threads) if self._group else 0
        left = batch - self._rounds * self._group * threads
        self._workers = [lowered(graph, self._group, 1, machine, memo) for _ in range(threads if self._rounds else 0)]
        self._rest = lowered(graph, left, threads, machine, memo) if left or not self._rounds else None

    def __reduce__(self) -> tuple[type[NativePlan], tuple[object, ...]]:
        # addresses and threads are this process's own, so that a copy is made anew
        return NativePlan, self._arguments

    @property
    def nbytes(self) -> int:
        """Bytes of the weights in memory."""
        return sum(self.weights.values())

    @property
    def weights(self) -> dict[str, int]:
        """Name of a step -> bytes of its weights in memory."""
        made = self._rest or self._workers[0]
        return {name: rows.nbytes for name, rows in made.weights.items()}

    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the outputs by name for inputs by name."""
        found = self.arrays({name: tensor.detach().numpy() for name, tensor in batch.items()})
        return {name: torch.from_numpy(array) for name, array in found.items()}

    @property
    def quick(self) -> Callable[[Tensor], Tensor] | None:
        """What returns the only output for the only input, contiguous and of the right shape, with the least effort.

        None if there are several, or groups of images.
        """
        made = self._rest
        if made is None or self._workers or len(made.inputs) != 1 or len(made.outputs) != 1:
            return None
        (inside,), (outside,), run, lock = made.inputs.values(), made.outputs.values(), made.program.run, self._lock
        before, size = inside.ctypes.data, inside.nbytes

        def compute(given: Tensor) -> Tensor:
            with lock:
                ctypes.memmove(before, given.data_ptr(), size)
                run()
                return torch.from_numpy(outside.copy())  # half the time of torch.empty

        return compute

    def arrays(self, batch: Mapping[str, npt.NDArray[np.float32]]) -> Arrays:
        """Returns the outputs by name for inputs by name."""
        with self._lock:
            if self._rest and not self._workers:
                return _run(self._rest, batch)
            size = self._arguments[1]
            made = self._workers[0]
            found = {name: np.empty((size, *array.shape[1:]), np.float32) for name, array in made.outputs.items()}
            step = self._group * self._threads

            def work(thread: int, threads: int) -> None:
                for number in range(self._rounds):
                    start = number * step + thread * self._group
                    _part(self._workers[thread], batch, found, slice(start, start + self._group))

            if self._threads == 1:
                work(0, 1)
            else:
                TEAM.run(Task(work, lambda: None, self._threads))
            if self._rest:
                _part(self._rest, batch, found, slice(self._rounds * step, size))
            return found


def _run(made: Lowered, batch: Mapping[str, npt.NDArray[np.float32]]) -> Arrays:
    for name, given in made.inputs.items():
        given[...] = batch[name]
    made.program.run()
    return {name: array.copy() for name, array in made.outputs.items()}


def _part(made: Lowered, batch: Mapping[str, npt.NDArray[np.float32]], found: Arrays, part: slice) -> None:
    for name, given in made.inputs.items():
        given[...] = batch[name][part]
    made.program.run()
    for name, array in made.outputs.items():
        found[name][part] = array


def _bytes_of_image(graph: Graph) -> int:
    """Returns about how many bytes the values of an image take that are needed at the same time."""
    sizes = [math.prod(value.shape[1:]) for value in graph.values]
    return max((4 * sum(sizes[number] for number in (*step.inputs, *step.outputs)) for step in graph.steps), default=1)
