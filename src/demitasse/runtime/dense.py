"""Runs a graph with PyTorch's dense operations: a kernel for each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from demitasse.graph.graph import Graph
from demitasse.runtime.kernels import kernel


class DensePlan:
    """Computes a graph, for batches of any size that its layers allow.

    Args:
        graph: with its memory planned.

    Attributes:
        graph: the graph; its steps are what is computed.
        kernels: what computes each of the steps.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        with torch.no_grad():
            self.kernels = [kernel(step) for step in graph.steps]
        self._calls = [
            (kernel, step.inputs, step.outputs, step.dead)
            for kernel, step in zip(self.kernels, graph.steps, strict=True)
        ]

    def __reduce__(self) -> tuple[type[DensePlan], tuple[Graph]]:
        # oneDNN's weights cannot be copied
        return DensePlan, (self.graph,)

    @torch.no_grad()
    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the outputs by name for inputs by name."""
        if self.graph.check:
            self.graph.check([batch[name] for name in self.graph.inputs])
        values = {number: _arranged(batch[name]) for name, number in self.graph.inputs.items()}
        for call in self._calls:
            run_call(values, *call)
        return {name: values[number] for name, number in self.graph.outputs.items()}


def run_call(
    values: dict[int, Tensor],
    compute: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Sequence[int],
    outputs: Sequence[int],
    dead: Sequence[int],
) -> None:
    """Computes values from others, all by number, and drops those that nothing needs any more."""
    result = compute(*[values[number] for number in inputs])
    values.update(zip(outputs, (result,) if isinstance(result, Tensor) else result, strict=True))
    for number in dead:
        values.pop(number, None)  # a part of a graph keeps some inside


def _arranged(tensor: Tensor) -> Tensor:
    if isinstance(tensor, Tensor) and tensor.ndim == 4 and tensor.device.type == "cpu":
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor
