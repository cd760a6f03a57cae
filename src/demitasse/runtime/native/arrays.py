"""Runs a graph from sparse weights, with kernels of our own, on arrays: PyTorch takes no part in it."""

from __future__ import annotations

from collections.abc import Mapping

from demitasse.graph.graph import Graph
from demitasse.packed.sparse import Floats
from demitasse.runtime.native.llvm import Machine
from demitasse.runtime.native.lowering import Memo, lowered


class ArrayPlan:
    """Computes a graph for batches of one size, on the CPU, in float32.

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
        self._made = lowered(graph, batch, threads, machine, memo)
        self._arguments = graph, batch, threads, machine, memo

    def __reduce__(self) -> tuple[type[ArrayPlan], tuple[object, ...]]:
        # addresses and threads are this process's own, so that a copy is made anew
        return type(self), self._arguments

    @property
    def nbytes(self) -> int:
        """Bytes of the weights in memory."""
        return sum(self.weights.values())

    @property
    def weights(self) -> dict[str, int]:
        """Name of a step -> bytes of its weights in memory."""
        return {name: rows.nbytes for name, rows in self._made.weights.items()}

    def arrays(self, batch: Mapping[str, Floats]) -> dict[str, Floats]:
        """Returns the outputs by name for inputs by name."""
        with self._made.program.lock:
            for name, given in self._made.inputs.items():
                given[...] = batch[name]
            self._made.program.run()
            return {name: found.copy() for name, found in self._made.outputs.items()}
