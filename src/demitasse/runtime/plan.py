"""The plan of a net: its graph after all passes, and how each size of batches is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property

import torch
from torch import Tensor

from demitasse.errors import UsageError
from demitasse.graph.graph import Graph
from demitasse.graph.passes import PASSES, planned
from demitasse.runtime.cost import native_pays, useful_threads
from demitasse.runtime.dense import DensePlan
from demitasse.runtime.mixed import MixedPlan
from demitasse.runtime.native.plan import Memo, NativePlan, NotNative

__all__ = ["PASSES", "Plan", "plan_of"]

# sizes of batches for which native plans are kept
KEPT = 4


class Plan:
    """Computes what a net computes, without gradients; :func:`optimize` makes it.

    Args:
        graph: after all passes.

    Attributes:
        graph: the graph; its steps are what is computed.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._memo: Memo = {}
        self._quick: dict[tuple[torch.Size, int], Callable[[Tensor], Tensor]] = {}
        # names of the only input and the only output
        self._only = (*graph.inputs, *graph.outputs) if len(graph.inputs) == len(graph.outputs) == 1 else ()
        self._natives: dict[tuple[int, int], NativePlan | MixedPlan | None] = {}

    def __getstate__(self) -> dict[str, object]:
        # the short ways are this process's own
        return {**self.__dict__, "_quick": {}}

    @cached_property
    def dense(self) -> DensePlan:
        """Computes the graph with PyTorch's dense operations."""
        return DensePlan(self.graph)

    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns name -> tensor of the outputs, of the parts of the loss, and of the blobs that were to be kept.

        Args:
            batch: the blobs that sources and the caller feed, by name; of any batch size that the layers allow.

        Raises:
            UsageError: a blob is not fed.
        """
        for name in self.graph.inputs:
            if name not in batch:
                raise UsageError(f"blob {name!r} is not fed; found {', '.join(batch) or 'none'}")
        if self._only:
            before, after = self._only
            found = self.quick(batch[before])
            if found is not None:
                return {after: found}
        batch = {name: _plain(batch[name]) for name in self.graph.inputs}
        return (self.suited(batch) or self.dense)(batch)

    def quick(self, given: Tensor) -> Tensor | None:
        """Returns the only output for the only input with the least effort; None where that takes the usual way."""
        if type(given) is not Tensor:
            return None
        compute = self._quick.get((given.shape, torch.get_num_threads()))
        if compute is None or not given.is_cpu or given.dtype is not torch.float32 or not given.is_contiguous():
            return None
        if given.is_neg():  # a view of which memory has the opposite
            return None
        return compute(given)

    def suited(self, batch: Mapping[str, Tensor]) -> NativePlan | MixedPlan | None:
        """Returns what computes these inputs from packed weights; None where dense operations do.

        What has a short way is found by :meth:`quick` from then on.
        """
        size = self._size(batch)
        suited = self.native(size, torch.get_num_threads()) if size else None
        if size and self._only:
            compute = suited.quick if suited else self._densely
            if compute:
                while len(self._quick) >= KEPT:
                    self._quick.pop(next(iter(self._quick)))
                self._quick[batch[self._only[0]].shape, torch.get_num_threads()] = compute
        return suited

    def _densely(self, given: Tensor) -> Tensor:
        before, after = self._only
        found = self.dense({before: given})[after]
        return found.clone() if found is given else found  # what is returned is never an argument itself

    def native(self, batch: int, threads: int) -> NativePlan | MixedPlan | None:
        """Returns what computes batches of a size from sparse weights; None where dense operations are faster.

        Args:
            batch: the size.
            threads: that compute them.
        """
        key = batch, threads
        if key not in self._natives:
            while len(self._natives) >= KEPT:
                self._natives.pop(next(iter(self._natives)))
            self._natives[key] = self._made(batch, threads)
        return self._natives[key]

    def _made(self, batch: int, threads: int) -> NativePlan | MixedPlan | None:
        if native_pays(self.graph, batch):
            with suppress(NotNative):
                useful = useful_threads(self.graph, batch, threads)
                return NativePlan(self.graph, batch, useful, memo=self._memo)
        mixed = MixedPlan(self.graph, batch, threads, self._memo)
        return mixed if mixed.steps else None

    def _size(self, inputs: Mapping[str, Tensor]) -> int:
        """Returns the size of a batch that native plans take; 0 if they do not take it."""
        sizes = set()
        for name, number in self.graph.inputs.items():
            value = inputs[name]
            if not isinstance(value, Tensor) or value.device.type != "cpu" or value.dtype != torch.float32:
                return 0
            if not value.ndim or tuple(value.shape[1:]) != self.graph.values[number].shape[1:]:
                return 0
            sizes.add(len(value))
        return sizes.pop() if len(sizes) == 1 else 0


def _plain(value: Tensor) -> Tensor:
    """Returns a tensor whose memory has its values: that of a view may have the opposite of them."""
    return value.resolve_neg() if isinstance(value, Tensor) and value.is_neg() else value


def plan_of(graph: Graph) -> Plan:
    """Returns the plan of a graph as it was read."""
    return Plan(planned(graph))
