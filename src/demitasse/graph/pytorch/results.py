"""The shapes of what a program returns, for batches of any size."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

import sympy  # type: ignore[import-untyped]
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind

from demitasse.graph.pytorch.arguments import user_inputs

Size = int | torch.SymInt

# sympy has no division of whole numbers; torch writes it as functions of its own
_FUNCTIONS = {"FloorDiv": operator.floordiv, "CleanDiv": operator.floordiv, "Mod": operator.mod}


class Results(NamedTuple):
    """The tensors that a program returns.

    Attributes:
        inputs: the number of tensors that it takes.
        shapes: takes the first size of each input, and returns the shapes, in order.
        dtypes: the types, in order.
    """

    inputs: int
    shapes: Callable[[Sequence[Size]], list[list[Size]]]
    dtypes: list[torch.dtype]


def results_of(program: ExportedProgram) -> Results | None:
    """Returns what a program returns; None if it takes nothing, or takes or returns anything but tensors."""
    taken, returned = [value for _, value in user_inputs(program)], _outputs(program)
    inputs, outputs = ([each for each in values if isinstance(each, Tensor)] for values in (taken, returned))
    if not inputs or len(inputs) < len(taken) or len(outputs) < len(returned):
        return None
    symbols: list[sympy.Expr] = []
    for each in inputs:
        first = _expression(each.shape[0]) if each.ndim else None
        known = first is None or not first.is_symbol or first in symbols
        symbols.append(sympy.Dummy() if known else first)
    found = [[_expression(size) for size in each.shape] for each in outputs]
    function = sympy.lambdify(symbols, found, modules=[_FUNCTIONS])
    return Results(len(inputs), lambda sizes: function(*sizes), [each.dtype for each in outputs])


def _outputs(program: ExportedProgram) -> list[object]:
    *_, last = program.graph.nodes
    specs = program.graph_signature.output_specs
    pairs = zip(last.args[0], specs, strict=True)
    return [getattr(each, "meta", {}).get("val") for each, spec in pairs if spec.kind is OutputKind.USER_OUTPUT]


def _expression(size: Size) -> sympy.Expr:
    return sympy.Integer(size) if isinstance(size, int) else size.node.expr
