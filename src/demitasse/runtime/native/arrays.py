"""Runs a graph from packed weights, with kernels of our own, on arrays: PyTorch takes no part in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from threading import RLock

import numpy as np

from demitasse.errors import UsageError
from demitasse.graph.graph import Graph
from demitasse.graph.pieces import piece_of
from demitasse.packed.sparse import Floats
from demitasse.runtime.native.llvm import Machine
from demitasse.runtime.native.lowering import Lowered, Memo, lowered
from demitasse.runtime.native.team import TEAM, Task

# bytes of values that stay in the cache
_CACHE = 1 << 20


class ArrayPlan:
    """Computes a graph for batches of one size, on the CPU, in float32.

    A batch whose values do not fit into the cache is computed in groups of images that do, each by one thread, up to
    the first inner product: from there on all images are computed together, so that weights are read once.

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
        self._lock = RLock()
        self.steps = {step.name for step in graph.steps}
        self._inputs = {name: (batch, *graph.values[number].shape[1:]) for name, number in graph.inputs.items()}
        self._graph = graph
        memo = {} if memo is None else memo
        group = _images_of_a_group(graph, batch, threads)
        kinds = [step.kind for step in graph.steps]
        cut = kinds.index("InnerProduct") if group and "InnerProduct" in kinds else 0
        pieces = [(piece_of(graph, graph.steps[:cut]), group), (piece_of(graph, graph.steps[cut:]), 0)] if cut else []
        self._stages = [
            _Stage(piece, batch, threads, size, machine, memo) for piece, size in pieces or [(graph, group)]
        ]

    def __reduce__(self) -> tuple[type[ArrayPlan], tuple[object, ...]]:
        # addresses and threads are this process's own, so that a copy is made anew
        return type(self), self._arguments

    @property
    def programs(self) -> list[Lowered]:
        """The programs: of each stage what computes groups of images, one for each thread, and what computes others."""
        return [made for stage in self._stages for made in stage.programs]

    @property
    def nbytes(self) -> int:
        """Bytes of the weights in memory."""
        return sum(self.weights.values())

    @property
    def weights(self) -> dict[str, int]:
        """Name of a step -> bytes of its weights in memory."""
        held = [made for stage in self._stages for made in stage.programs[:1]]
        return {name: weight.nbytes for made in held for name, weight in made.weights.items()}

    def arrays(self, batch: Mapping[str, Floats]) -> dict[str, Floats]:
        """Returns the outputs by name for inputs by name.

        Raises:
            UsageError: an input has another shape than the plan was made for.
        """
        for name, shape in self._inputs.items():
            if batch[name].shape != shape:
                raise UsageError(f"input {name!r} has shape {list(batch[name].shape)}; expected {list(shape)}")
        with self._lock:
            if len(self._stages) == 1:
                return self._stages[0].compute(batch)
            values = {str(number): batch[name] for name, number in self._graph.inputs.items()}
            for stage in self._stages:
                values |= stage.compute(values)
            return {name: values[str(number)] for name, number in self._graph.outputs.items()}


class _Stage:
    """Computes a part of a graph; for the arguments see :class:`ArrayPlan`.

    Args:
        group: images that one thread computes at a time; 0 if all threads compute the batch together.
    """

    def __init__(self, graph: Graph, batch: int, threads: int, group: int, machine: Machine | None, memo: Memo) -> None:
        self._batch, self._threads, self._group = batch, threads, group
        self._rounds = batch // (group * threads) if group else 0
        left = batch - self._rounds * group * threads
        self._workers = [lowered(graph, group, 1, machine, memo) for _ in range(threads if self._rounds else 0)]
        self._rest = lowered(graph, left, threads, machine, memo) if left or not self._rounds else None

    @property
    def programs(self) -> list[Lowered]:
        return [*self._workers, *([self._rest] if self._rest else [])]

    def compute(self, batch: Mapping[str, Floats]) -> dict[str, Floats]:
        made = self.programs[0]
        found = {name: np.empty((self._batch, *array.shape[1:]), np.float32) for name, array in made.outputs.items()}
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
