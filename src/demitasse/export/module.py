"""A graph as torch.export takes it: tensors in, tensors out, one module for each step."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor, nn

from demitasse.errors import DemitasseError, ExportError, parameter
from demitasse.export.forms import form
from demitasse.export.names import identifiers
from demitasse.graph import Graph, Model, Step
from demitasse.graph.passes import merge_normalizations

_PASSES = (merge_normalizations,)


def prepared(model: Model) -> Graph:
    """Returns the graph of a model as exporters write it."""
    return reduce(lambda graph, apply: apply(graph), _PASSES, model.graph)


class GraphModule(nn.Module):
    """Computes a graph, and nothing that a target could not express.

    Args:
        graph: the graph of a model, see :func:`prepared`.
        form: gives the module that computes a step.

    Attributes:
        names: name of a step -> name of its module here.
    """

    def __init__(self, graph: Graph, form: Callable[[Step], nn.Module] = form) -> None:
        super().__init__()
        self._graph = graph
        self.names = identifiers((step.name for step in graph.steps), "layer")
        for step in graph.steps:
            self.add_module(self.names[step.name], form(step))
        self.eval()

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Returns the outputs by name, for inputs in the order of the graph."""
        values = dict(zip(self._graph.inputs.values(), inputs, strict=True))
        for step in self._graph.steps:
            result = self._run(step, [values[number] for number in step.inputs])
            values.update(zip(step.outputs, (result,) if isinstance(result, Tensor) else result, strict=True))
        return {name: values[number] for name, number in self._graph.outputs.items()}

    def _run(self, step: Step, inputs: list[Tensor]) -> Tensor | tuple[Tensor, ...]:
        try:
            return self.get_submodule(self.names[step.name])(*inputs)  # type: ignore[no-any-return]
        except (DemitasseError, RuntimeError, IndexError, ValueError) as error:
            shapes = " and ".join(str([str(size) for size in each.shape]) for each in inputs)
            raise ExportError(
                f"layer {step.name!r} of type {step.kind} cannot take bottoms of shape {shapes}: {_first_line(error)}"
            ) from error


def traced(module: GraphModule, model: Model) -> torch.export.ExportedProgram:
    """Returns the program of the module that computes a model.

    Raises:
        UsageError: the batch may have any size, but the inputs have batches of different sizes.
        ExportError: torch.export cannot express a layer, or a layer works with one batch size only.
    """
    dims, shapes = None, model.inputs
    if model.dynamic:
        size = torch.export.Dim("batch")
        dims = (tuple({model.batch_axes[name]: size} if name in model.batch_axes else {} for name in shapes),)
        shapes = model.sized(max(model.batch(), 2))  # torch.export makes a size of 1 a constant
    example = tuple(torch.zeros(shape) for shape in shapes.values())
    try:
        with torch.no_grad():
            return torch.export.export(module, example, dynamic_shapes=dims)
    except DemitasseError:
        raise
    except Exception as error:  # torch.export raises exceptions of any type
        one_size = f"; if the batch must have one size, give it ({parameter('batch')})"
        hint = one_size if model.dynamic else ""
        raise ExportError(f"torch.export cannot express the net: {_first_line(error)}{hint}") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
