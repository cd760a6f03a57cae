"""Where nets that are written in C come from: modules, Caffe nets, models and whole-model files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from demitasse.errors import UsageError
from demitasse.graph import Graph, Model
from demitasse.graph.caffe import is_net, of_files, of_net
from demitasse.graph.pytorch import Exported, read_module
from demitasse.graph.pytorch.module import arguments_of
from demitasse.runtime.plan import plan_of
from demitasse.runtime.stored import stored_net


class SourceNet(NamedTuple):
    """A net to be written.

    Attributes:
        graph: the net; inputs and outputs have names.
        reference: computes the outputs by name of inputs by name, as the net does.
        origin: where it comes from, any text.
    """

    graph: Graph
    reference: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
    origin: str


def source_net(model: nn.Module | Model | str | Path, example: object = None) -> SourceNet:
    """Returns the net of what a user has.

    Args:
        model: a module in evaluation, a Caffe net, a model, or the path of a whole-model ``.demi`` file.
        example: an input of a module that is no Caffe net, or a tuple of its arguments.

    Raises:
        UsageError: the example is missing or not wanted, or the file contains no net.
        FileFormatError, WeightsError: the file is damaged.
    """
    is_module = isinstance(model, nn.Module) and not is_net(model)
    if is_module and example is None:
        raise UsageError(f"an example of the input of {type(model).__name__} is needed: export.c(model, example, path)")
    if not is_module and example is not None:
        raise UsageError("a file, a model or a Caffe net needs no example: export.c(model, None, path)")
    if isinstance(model, Model):
        return SourceNet(model.graph, model.reference, "a Caffe net")
    if isinstance(model, str | Path):
        return _of_file(Path(model))
    if not is_module:
        return source_net(of_net(model))
    found = read_module(model, *arguments_of(example))
    return _named(found, Path(type(model).__name__))


def _of_file(path: Path) -> SourceNet:
    found = stored_net(path)
    if isinstance(found, Exported):
        return _named(found, path)
    model = of_files(None, path)
    return SourceNet(model.graph, model.reference, path.name)


def _named(found: Exported, origin: Path) -> SourceNet:
    """Returns the net of a module, with the names of its arguments; outputs are called ``output``."""
    graph = found.graph.copy()
    numbers = list(graph.inputs.values())
    names = [each.name for each in found.inputs] if len(found.inputs) == len(numbers) else list(graph.inputs)
    outputs = list(graph.outputs.values())
    many = len(outputs) > 1
    graph.inputs = dict(zip(names, numbers, strict=True))
    graph.outputs = {f"output_{index}" if many else "output": each for index, each in enumerate(outputs)}
    plan = plan_of(graph)

    @torch.no_grad()
    def reference(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return plan(inputs)

    return SourceNet(graph, reference, origin.name)
