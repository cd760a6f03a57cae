"""Inner products from sparse weights, in graphs that are computed by PyTorch otherwise."""

from __future__ import annotations

import math
from types import SimpleNamespace

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.graph.graph import Graph, Step
from demitasse.runtime.cost import inner_product_pays
from demitasse.runtime.kernels.onednn import FusedInnerProductKernel
from demitasse.runtime.native.plan import Memo, NativePlan

# numbers of rows for which programs are kept
_KEPT = 8


class SparseInnerProductKernel(FusedInnerProductKernel):
    """An inner product that is computed from its sparse weights, for the numbers of rows where that is faster."""

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self.step = step
        self._pays: dict[int, bool] = {}
        self._plans: dict[tuple[int, int], NativePlan] = {}
        self._memo: Memo = {}

    @override
    def __call__(self, bottom: Tensor, *summands: Tensor) -> Tensor:
        axis = self.settings.axis
        fits = math.prod(bottom.shape[axis:]) == self.weight.shape[1]
        rows = math.prod(bottom.shape[:axis]) if fits else 0
        suits = bottom.device.type == "cpu" and bottom.dtype == torch.float32 and rows and not summands
        if suits and rows not in self._pays:
            self._pays[rows] = inner_product_pays(rows, self.weight)
        if not suits or not self._pays[rows]:
            return super().__call__(bottom, *summands)
        found = self._plan(rows)({"x": bottom.reshape(rows, -1)})["y"]
        return found.reshape(*bottom.shape[:axis], -1)

    def _plan(self, rows: int) -> NativePlan:
        key = rows, torch.get_num_threads()
        if key not in self._plans:
            while len(self._plans) >= _KEPT:
                self._plans.pop(next(iter(self._plans)))
            self._plans[key] = NativePlan(self._graph(), *key, memo=self._memo)
        return self._plans[key]

    def _graph(self) -> Graph:
        outputs, inputs = self.weight.shape
        graph = Graph(self.step.name)
        graph.inputs = {"x": graph.add_value("x", (1, inputs))}
        graph.outputs = {"y": graph.add_value("y", (1, outputs))}
        step = Step(
            self.step.name, "InnerProduct", [0], [1], SimpleNamespace(axis=1), self.step.weights,
            activation=self.step.activation,
        )  # fmt: skip
        graph.steps = [step]
        return graph
