"""Checks that arguments fit a program, which is right for no others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec
from torch.utils import _pytree as pytree

from demitasse.errors import UsageError

Positional = tuple[Any, ...]
Named = dict[str, Any]


def user_inputs(program: ExportedProgram) -> list[tuple[InputSpec, object]]:
    """Returns what a program takes, in order: how it is described, and its value in the example."""
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    specs = (spec for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT)
    return [(spec, placeholders[spec.arg.name].meta.get("val")) for spec in specs]


class Arguments:
    """Checks that arguments fit a program, whose operations are right for no others.

    Args:
        program: the program.
        args: the arguments of the example.
        kwargs: its named arguments.
    """

    def __init__(self, program: ExportedProgram, args: Positional, kwargs: Named) -> None:
        self._spec = program.call_spec.in_spec
        self._names = list(kwargs)
        self._described = _described(args, kwargs)
        self._wanted = [(spec.arg, value) for spec, value in user_inputs(program)]
        self._ranges = program.range_constraints

    def flatten(self, args: Positional, kwargs: Named) -> list[Tensor]:
        """Returns the inputs of the graph.

        Raises:
            UsageError: they differ from the example in more than the values and the size of the batch.
        """
        if kwargs.keys() == set(self._names):
            kwargs = {name: kwargs[name] for name in self._names}
        leaves, found = pytree.tree_flatten((args, kwargs))
        if found != self._spec:
            raise UsageError(f"found {_described(args, kwargs)}; expected {self._described}, as in the example")
        sizes: dict[object, int] = {}
        for leaf, (described, wanted) in zip(leaves, self._wanted, strict=True):
            self._check(leaf, described, wanted, sizes)
        return leaves

    def _check(self, leaf: object, described: Any, wanted: object, sizes: dict[object, int]) -> None:
        name = described.name
        if not isinstance(wanted, Tensor):
            constant = getattr(described, "value", None)
            if type(leaf) is not type(constant) or leaf != constant:
                raise UsageError(f"argument {name} is {leaf!r}; expected {constant!r}, as in the example")
            return
        shown = [shown_size(size) for size in wanted.shape]
        if not isinstance(leaf, Tensor):
            raise UsageError(f"argument {name} is a {type(leaf).__name__}; expected a tensor of shape {shown}")
        if leaf.dtype != wanted.dtype or leaf.layout != torch.strided or leaf.is_meta:
            raise UsageError(f"argument {name} is a {leaf.layout} tensor of {leaf.dtype}; expected {wanted.dtype}")
        fits = leaf.ndim == wanted.ndim and all(
            self._fits(int(size), expected, sizes) for size, expected in zip(leaf.shape, wanted.shape, strict=True)
        )
        if not fits:
            raise UsageError(f"argument {name} has shape {list(leaf.shape)}; expected {shown}, as in the example")

    def _fits(self, size: int, wanted: int | torch.SymInt, sizes: dict[object, int]) -> bool:
        """Tells whether a size is the one that a program works with; one that may be any is the same everywhere."""
        if isinstance(wanted, int) or wanted.node.expr.is_number:
            return size == int(wanted)
        symbol = wanted.node.expr
        if not symbol.is_symbol:  # such as twice another size
            found = symbol.xreplace(sizes)
            return not found.is_number or int(found) == size
        known = self._ranges.get(symbol)
        if known is not None and not (size in (0, 1) or known.lower <= size <= known.upper):
            return False
        return sizes.setdefault(symbol, size) == size


def shown_size(size: int | torch.SymInt) -> int | str:
    """Returns a size that must be that of the example, and ``n`` for one that may be any."""
    return int(size) if isinstance(size, int) or size.node.expr.is_number else "n"


def _described(args: Positional, kwargs: Named) -> str:
    """Returns how arguments are given, for messages."""
    count = f"{len(args)} argument{'s' * (len(args) != 1)}"
    return f"{count} and {', '.join(kwargs)} by name" if kwargs else count
