"""PyTorch modules as graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from demitasse.errors import UsageError
from demitasse.graph.graph import Graph
from demitasse.graph.pytorch.arguments import Arguments, Named, Positional, described
from demitasse.graph.pytorch.exporting import export_program
from demitasse.graph.pytorch.reading import read_program
from demitasse.graph.pytorch.results import Results, results_of
from demitasse.graph.signature import ConstantInput, TensorInput


class Exported(NamedTuple):
    """A module as a graph.

    Attributes:
        graph: what it computes; inputs and outputs have numbers for names.
        flatten: makes the inputs of the graph, in order, of arguments and named arguments.
        restore: makes what the module returns of the outputs of the graph, in order.
        names: the named arguments, in order.
        results: the outputs of the graph; None if they are not known, or it takes or returns anything but tensors.
        inputs: the inputs of the graph, in order.
    """

    graph: Graph
    flatten: Callable[[Positional, Named], list[Tensor]]
    restore: Callable[[Sequence[object]], object]
    names: tuple[str, ...] = ()
    results: Results | None = None
    inputs: tuple[TensorInput | ConstantInput, ...] = ()


def read_module(model: nn.Module, args: Positional, kwargs: Named | None = None) -> Exported:
    """Returns the graph of a module in evaluation, for batches of any size where the module allows them.

    Args:
        model: the module; it is not changed, and the graph has the values that its weights have now.
        args: an example of the arguments of ``forward``; the first axis of each tensor is that of the batch.
        kwargs: an example of the named arguments.

    Raises:
        UsageError: the module is in training mode, the example does not fit, or torch.export cannot read the module.
    """
    program = exported_program(model, args, kwargs)
    found = described(program)
    arguments = Arguments(found, program.call_spec.in_spec, len(args), list(kwargs or {}))
    graph = read_program(program, type(model).__name__, folds=True).graph
    return Exported(graph, arguments.flatten, _restore(program), tuple(kwargs or {}), results_of(program), found.inputs)


def exported_program(model: nn.Module, args: Positional, kwargs: Named | None = None) -> ExportedProgram:
    """Returns the program of a module in evaluation; arguments and errors are those of :func:`read_module`."""
    name, kwargs = type(model).__name__, kwargs or {}
    for part, module in model.named_modules():
        if module.training:
            raise UsageError(f"{name}{f': {part!r}' if part else ''} is in training mode; call model.eval() first")
    if isinstance(model, torch.jit.ScriptModule):
        raise UsageError(f"{name} is scripted or traced, which torch.export cannot read; give the module itself")
    return export_program(model, args, kwargs)


def arguments_of(example: object) -> tuple[Positional, Named]:
    """Returns arguments and named arguments of an example: an input, a tuple, or a dict of named arguments."""
    if isinstance(example, Mapping):
        return (), dict(example)
    return (example if isinstance(example, tuple) else (example,)), {}


def _restore(program: ExportedProgram) -> Callable[[Sequence[object]], object]:
    spec = program.call_spec.out_spec
    return lambda outputs: pytree.tree_unflatten(list(outputs), spec)
