"""PyTorch modules as graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from demitasse.errors import UsageError
from demitasse.graph.graph import Graph
from demitasse.graph.pytorch.arguments import Arguments, Named, Positional
from demitasse.graph.pytorch.exporting import export_program
from demitasse.graph.pytorch.reading import read_program
from demitasse.graph.pytorch.results import Results, results_of


class Exported(NamedTuple):
    """A module as a graph.

    Attributes:
        graph: what it computes; inputs and outputs have numbers for names.
        flatten: makes the inputs of the graph, in order, of arguments and named arguments.
        restore: makes what the module returns of the outputs of the graph, in order.
        names: the named arguments, in order.
        results: the outputs of the graph; None if they are not known, or it takes or returns anything but tensors.
    """

    graph: Graph
    flatten: Callable[[Positional, Named], list[Tensor]]
    restore: Callable[[Sequence[object]], object]
    names: tuple[str, ...] = ()
    results: Results | None = None


def read_module(model: nn.Module, args: Positional, kwargs: Named | None = None) -> Exported:
    """Returns the graph of a module in evaluation, for batches of any size where the module allows them.

    Args:
        model: the module; it is not changed, and the graph has the values that its weights have now.
        args: an example of the arguments of ``forward``; the first axis of each tensor is that of the batch.
        kwargs: an example of the named arguments.

    Raises:
        UsageError: the module is in training mode, the example does not fit, or torch.export cannot read the module.
    """
    name, kwargs = type(model).__name__, kwargs or {}
    for part, module in model.named_modules():
        if module.training:
            raise UsageError(f"{name}{f': {part!r}' if part else ''} is in training mode; call model.eval() first")
    if isinstance(model, torch.jit.ScriptModule):
        raise UsageError(f"{name} is scripted or traced, which torch.export cannot read; give the module itself")
    program = export_program(model, args, kwargs)
    flatten = Arguments(program, args, kwargs).flatten
    return Exported(read_program(program, name), flatten, _restore(program), tuple(kwargs), results_of(program))


def _restore(program: ExportedProgram) -> Callable[[Sequence[object]], object]:
    spec = program.call_spec.out_spec
    return lambda outputs: pytree.tree_unflatten(list(outputs), spec)
