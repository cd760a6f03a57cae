"""Checks that arguments fit a program, which is right for no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec
from torch.utils import _pytree as pytree

from demitasse.errors import UsageError
from demitasse.graph.signature import ConstantInput, OpenSize, Symbol, TensorInput

# the greatest size that is not taken as any size
_GREATEST = 1 << 62

Positional = tuple[Any, ...]
Named = dict[str, Any]


def user_inputs(program: ExportedProgram) -> list[tuple[InputSpec, object]]:
    """Returns what a program takes, in order: how it is described, and its value in the example."""
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    specs = (spec for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT)
    return [(spec, placeholders[spec.arg.name].meta.get("val")) for spec in specs]


class Inputs(NamedTuple):
    """What a program takes.

    Attributes:
        inputs: the leaves of the arguments, in order.
        symbols: name of a symbol in their sizes -> what it may be.
    """

    inputs: tuple[TensorInput | ConstantInput, ...]
    symbols: dict[str, Symbol]


def described(program: ExportedProgram) -> Inputs:
    """Returns what a program takes, as plain data."""
    found: list[TensorInput | ConstantInput] = []
    symbols: dict[str, Symbol] = {}
    for spec, value in user_inputs(program):
        name = spec.arg.name
        if not isinstance(value, Tensor):
            found.append(ConstantInput(name, getattr(spec.arg, "value", None)))
            continue
        for size in value.shape:
            if isinstance(size, torch.SymInt) and size.node.expr.is_symbol:
                symbols[str(size.node.expr)] = _symbol(size, program)
        dtype = str(value.dtype).removeprefix("torch.")
        found.append(TensorInput(name, dtype, tuple(_size(size) for size in value.shape)))
    return Inputs(tuple(found), symbols)


def _symbol(size: torch.SymInt, program: ExportedProgram) -> Symbol:
    known = program.range_constraints.get(size.node.expr)
    if known is None:
        return Symbol(int(size.node.hint), 0)
    return Symbol(int(size.node.hint), int(known.lower), int(known.upper) if known.upper <= _GREATEST else None)


def _size(size: int | torch.SymInt) -> int | OpenSize:
    """Returns a size; one that depends on several symbols, or is no multiple of one, is a symbol of its own."""
    if isinstance(size, int) or size.node.expr.is_number:
        return int(size)
    expression = size.node.expr
    if len(expression.free_symbols) == 1:
        (symbol,) = expression.free_symbols
        offset = expression.subs(symbol, 0)
        factor = expression.subs(symbol, 1) - offset
        if expression == factor * symbol + offset:
            return OpenSize(str(symbol), int(factor), int(offset))
    return OpenSize(str(expression))


class Arguments:
    """Checks that arguments fit a program, whose operations are right for no others.

    Args:
        described: what the program takes.
        spec: the structure of the arguments, (positional, named).
        count: of the positional arguments of the example.
        names: of the named ones.
    """

    def __init__(self, described: Inputs, spec: pytree.TreeSpec, count: int, names: Sequence[str]) -> None:
        self._wanted, self._symbols = described
        self._spec, self._names = spec, list(names)
        self._described = _described(count, names)

    def flatten(self, args: Positional, kwargs: Named) -> list[Tensor]:
        """Returns the inputs of the graph.

        Raises:
            UsageError: they differ from the example in more than the values and the size of the batch.
        """
        if kwargs.keys() == set(self._names):
            kwargs = {name: kwargs[name] for name in self._names}
        leaves, found = pytree.tree_flatten((args, kwargs))
        if found != self._spec:
            raise UsageError(
                f"found {_described(len(args), list(kwargs))}; expected {self._described}, as in the example"
            )
        sizes: dict[str, int] = {}
        for leaf, wanted in zip(leaves, self._wanted, strict=True):
            self._check(leaf, wanted, sizes)
        return leaves

    def _check(self, leaf: object, wanted: TensorInput | ConstantInput, sizes: dict[str, int]) -> None:
        name = wanted.name
        if isinstance(wanted, ConstantInput):
            if type(leaf) is not type(wanted.value) or leaf != wanted.value:
                raise UsageError(f"argument {name} is {leaf!r}; expected {wanted.value!r}, as in the example")
            return
        shown = [size if isinstance(size, int) else "n" for size in wanted.sizes]
        if not isinstance(leaf, Tensor):
            raise UsageError(f"argument {name} is a {type(leaf).__name__}; expected a tensor of shape {shown}")
        if str(leaf.dtype) != f"torch.{wanted.dtype}" or leaf.layout != torch.strided or leaf.is_meta:
            kind = "meta" if leaf.is_meta else leaf.layout
            raise UsageError(f"argument {name} is a {kind} tensor of {leaf.dtype}; expected torch.{wanted.dtype}")
        fits = leaf.ndim == len(wanted.sizes) and all(
            self._fits(int(size), expected, sizes) for size, expected in zip(leaf.shape, wanted.sizes, strict=True)
        )
        if not fits:
            raise UsageError(f"argument {name} has shape {list(leaf.shape)}; expected {shown}, as in the example")

    def _fits(self, size: int, wanted: int | OpenSize, sizes: dict[str, int]) -> bool:
        """Tells whether a size is the one that a program works with; one that may be any is the same everywhere."""
        if isinstance(wanted, int):
            return size == wanted
        if (wanted.factor, wanted.offset) != (1, 0):  # such as twice another size
            return wanted.symbol not in sizes or wanted.factor * sizes[wanted.symbol] + wanted.offset == size
        known = self._symbols.get(wanted.symbol)
        if known is not None and not (size in (0, 1) or known.least <= size <= (known.most or size)):
            return False
        return sizes.setdefault(wanted.symbol, size) == size


def shown_size(size: int | torch.SymInt) -> int | str:
    """Returns a size that must be that of the example, and ``n`` for one that may be any."""
    return int(size) if isinstance(size, int) or size.node.expr.is_number else "n"


def _described(positional: int, names: Sequence[str]) -> str:
    """Returns how arguments are given, for messages."""
    count = f"{positional} argument{'s' * (positional != 1)}"
    return f"{count} and {', '.join(names)} by name" if names else count
