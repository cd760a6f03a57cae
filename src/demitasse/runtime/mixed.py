"""Runs a graph in parts: by kernels of our own where there are such, by PyTorch's operations elsewhere.

Steps change their order so that the parts become few and large: heads of a detector come before their permutations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import Tensor

from demitasse.graph.graph import Graph, Step
from demitasse.graph.passes import plan_memory
from demitasse.graph.pieces import piece_of
from demitasse.graph.weights import is_on_cpu
from demitasse.runtime.cost import native_pays, saved, useful_threads
from demitasse.runtime.dense import run_call
from demitasse.runtime.kernels import kernel
from demitasse.runtime.native.lowering import LOWER
from demitasse.runtime.native.plan import Memo, NativePlan, NotNative

# the least share of the time of a graph that its parts have to save
_LEAST = 0.1
# seconds that entering a part takes, and each of the values that go in and out of it
_ENTRY, _VALUE = 15e-6, 0.5e-9


class PlanPart(NamedTuple):
    """Steps that are computed together.

    Attributes:
        steps: the steps.
        inputs: numbers of the values that they take from outside.
        outputs: numbers of the values that are needed outside.
        compute: makes the outputs of the inputs, in these orders.
        dead: numbers of the values that nothing needs afterwards.
        weights: name of a step -> bytes of its packed weights in memory.
        is_native: whether our kernels compute them.
    """

    steps: Sequence[Step]
    inputs: list[int]
    outputs: list[int]
    compute: Callable[..., Tensor | Sequence[Tensor]]
    dead: list[int]
    weights: dict[str, int]
    is_native: bool


class MixedPlan:
    """Computes a graph for batches of one size, on the CPU.

    Args:
        graph: after all passes.
        batch: images of a batch.
        threads: that compute it.
        memo: packed weights of other plans of the same graph, to which those of this one are added.

    Attributes:
        parts: the parts, in order; none if they save too little to be worth it.
        weights: name of a step -> bytes of its packed weights in memory.
        steps: names of the steps that have kernels of ours.
    """

    quick = None  # there is no short way

    def __init__(self, graph: Graph, batch: int, threads: int, memo: Memo) -> None:
        self._graph = graph
        self._arguments = graph, batch, threads, memo
        sizes = {graph.values[number].shape[:1] for number in graph.inputs.values()}
        suited = [_suits(graph, step, sizes) for step in graph.steps]
        while True:
            order = _gathered(graph.steps, suited)
            ordered = plan_memory(replace(graph, steps=[graph.steps[index] for index in order]))
            try:
                self.parts = _parts(ordered, [suited[index] for index in order], batch, threads, memo)
                break
            except NotNative as error:  # of a step with settings that no kernel has
                if error.step is None:
                    raise
                suited[order[ordered.steps.index(error.step)]] = False
        self.weights = {name: size for part in self.parts for name, size in part.weights.items()}
        self.steps = {step.name for part in self.parts if part.is_native for step in part.steps}

    def __reduce__(self) -> tuple[type[MixedPlan], tuple[object, ...]]:
        return MixedPlan, self._arguments

    @torch.no_grad()
    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the outputs by name for inputs by name."""
        if self._graph.check:
            self._graph.check([batch[name] for name in self._graph.inputs])
        values = {number: batch[name] for name, number in self._graph.inputs.items()}
        for part in self.parts:
            run_call(values, part.compute, part.inputs, part.outputs, part.dead)
        return {name: values[number] for name, number in self._graph.outputs.items()}


def _gathered(steps: Sequence[Step], suited: Sequence[bool]) -> list[int]:
    """Returns an order of steps, by their indices, in which suited and other ones take turns as rarely as possible."""
    left, order, turn = list(range(len(steps))), [], True
    while left:
        later: list[int] = []
        waiting: set[int] = set()  # numbers of values that later steps make
        for index in left:
            if suited[index] == turn and waiting.isdisjoint(steps[index].inputs):
                order.append(index)
            else:
                later.append(index)
                waiting.update(steps[index].outputs)
        left, turn = later, not turn
    return order


def _parts(graph: Graph, suited: Sequence[bool], batch: int, threads: int, memo: Memo) -> list[PlanPart]:
    parts, share = [], 0.0
    for is_suited, group in groupby(zip(suited, graph.steps, strict=True), key=itemgetter(0)):
        steps = [step for _, step in group]
        piece = piece_of(graph, steps)
        if is_suited and native_pays(piece, batch, _entry(piece, batch)):
            useful = useful_threads(piece, batch, threads, beside_torch=True)
            parts.append(_native(piece, NativePlan(piece, batch, useful, memo=memo)))
            share += saved(graph, piece, batch, _entry(piece, batch))
        else:
            parts += [PlanPart([step], step.inputs, step.outputs, kernel(step), step.dead, {}, False) for step in steps]
    return parts if share >= _LEAST else []


def _suits(graph: Graph, step: Step, sizes: set[tuple[int, ...]]) -> bool:
    """Tells whether there may be a kernel for a step: its values have the axis of the batch, and 1 or 3 others."""
    numbers = {*step.inputs, *step.outputs}
    shapes = [graph.values[number].shape for number in numbers]
    batches = not graph.without_batch & numbers and all({shape[:1]} == sizes for shape in shapes)
    batches = batches and all(len(shape) in (2, 4) for shape in shapes)
    return step.kind in LOWER and batches and all(map(is_on_cpu, step.weights.values()))


def _entry(piece: Graph, batch: int) -> float:
    """Returns the seconds that it takes to enter a part, and to leave it."""
    numbers = [*piece.inputs.values(), *piece.outputs.values()]
    return _ENTRY + _VALUE * batch * sum(math.prod(piece.values[number].shape[1:]) for number in numbers)


def _native(piece: Graph, plan: NativePlan) -> PlanPart:
    def compute(*inputs: Tensor) -> list[Tensor]:
        found = plan(dict(zip(piece.inputs, inputs, strict=True)))
        return [found[name] for name in piece.outputs]

    dead = [number for step in piece.steps for number in step.dead]
    inputs, outputs = list(piece.inputs.values()), list(piece.outputs.values())
    return PlanPart(piece.steps, inputs, outputs, compute, dead, plan.weights, True)
