"""A plain net as torch.export takes it: tensors in, tensors out, one module a step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from demitasse.errors import DemitasseError, ExportError, parameter
from demitasse.export.forms import form
from demitasse.export.model import Model
from demitasse.export.names import identifiers
from demitasse.export.steps import Step, plan


class Graph(nn.Module):
    """The net of a model.

    Args:
        model: the net and what of it is wanted.
        form: gives the module that computes a step.

    Attributes:
        names: name of a layer -> name of its module here.
    """

    def __init__(self, model: Model, form: Callable[[Step], nn.Module] = form) -> None:
        super().__init__()
        self._plan = plan(model)
        self.names = identifiers((step.name for step in self._plan.steps), "layer")
        for step in self._plan.steps:
            self.add_module(self.names[step.name], form(step))
        self.eval()

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Returns the outputs by name, for inputs in the order of the model."""
        blobs = dict(zip(self._plan.inputs, inputs, strict=True))
        for step in self._plan.steps:
            result = self._run(step, [blobs[name] for name in step.bottoms])
            blobs.update(zip(step.tops, (result,) if isinstance(result, Tensor) else result, strict=True))
        return {name: blobs[blob] for name, blob in self._plan.outputs.items()}

    def _run(self, step: Step, bottoms: list[Tensor]) -> Tensor | tuple[Tensor, ...]:
        try:
            return self.get_submodule(self.names[step.name])(*bottoms)  # type: ignore[no-any-return]
        except (DemitasseError, RuntimeError, IndexError, ValueError) as error:
            shapes = " and ".join(str([str(size) for size in bottom.shape]) for bottom in bottoms)
            raise ExportError(
                f"layer {step.name!r} of type {step.kind} cannot take bottoms of shape {shapes}: {_first_line(error)}"
            ) from error


def traced(graph: Graph, model: Model) -> torch.export.ExportedProgram:
    """Returns the program of a graph of the model.

    Raises:
        UsageError: the batch may have any size, but the inputs have batches of different ones.
        ExportError: a layer cannot be expressed, or works with one size of batches alone.
    """
    dims, shapes = None, model.inputs
    if model.dynamic:
        size = torch.export.Dim("batch")
        dims = (tuple({model.batch_axes[name]: size} if name in model.batch_axes else {} for name in shapes),)
        shapes = model.sized(max(model.batch(), 2))  # torch takes a size of 1 for a constant
    example = tuple(torch.zeros(shape) for shape in shapes.values())
    try:
        with torch.no_grad():
            return torch.export.export(graph, example, dynamic_shapes=dims)
    except DemitasseError:
        raise
    except Exception as error:  # torch raises what it likes
        one_size = f"; is it the batch, which must not have any size? Give its size ({parameter('batch')})"
        hint = one_size if model.dynamic else ""
        raise ExportError(f"torch.export cannot express the net: {_first_line(error)}{hint}") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
