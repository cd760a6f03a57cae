"""The adapter of PyTorch modules: what reads a program of torch.export into a graph."""

from __future__ import annotations

import inspect
import operator
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, OutputKind, OutputSpec
from torch.utils import _pytree as pytree
from typing_extensions import override

from demitasse.errors import UsageError
from demitasse.graph.graph import Graph, Shape, Step
from demitasse.registry import Registry

Positional = tuple[Any, ...]
Named = dict[str, Any]


class Exported(NamedTuple):
    """A module as a graph.

    Attributes:
        graph: what it computes; inputs and outputs have numbers for names.
        flatten: makes the inputs of the graph, in order, of arguments and named arguments.
        restore: makes what the module returns of the outputs of the graph, in order.
    """

    graph: Graph
    flatten: Callable[[Positional, Named], list[Tensor]]
    restore: Callable[[Sequence[object]], object]


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
    program = _exported(model, args, kwargs)
    return Exported(_Reading(program, name).graph, Arguments(program, args, kwargs).flatten, _restore(program))


def _exported(model: nn.Module, args: Positional, kwargs: Named) -> ExportedProgram:
    """Returns a program for any size of batches, or for that of the example where the module works with no other."""
    try:
        bound = inspect.signature(model.forward).bind(*args, **kwargs).arguments
    except TypeError as error:
        raise UsageError(f"{type(model).__name__} cannot be run on the example: {error}") from error
    shapes = pytree.tree_map(lambda leaf: {0: torch.export.Dim.AUTO} if _has_batch(leaf) else None, dict(bound))
    # torch.export writes the program so far to stderr when it refuses; the error that is raised says why
    with torch.no_grad(), redirect_stderr(StringIO()):
        try:
            wide = pytree.tree_map(_wider, (args, kwargs))  # torch.export makes a size of 1 a constant
            program = torch.export.export(model, *wide, dynamic_shapes=shapes)
            if _has_any_batch(program) or not _has_other_sizes(wide, (args, kwargs)):
                return _functional(program)
            return _functional(torch.export.export(model, args, kwargs))  # such as for len(x), which is a number
        except Exception:  # torch.export and the module raise exceptions of any type
            try:
                return _functional(torch.export.export(model, args, kwargs))
            except Exception as error:
                _run(model, args, kwargs)
                raise UsageError(
                    f"torch.export cannot read {type(model).__name__}: {_first_line(error)}; code that depends on the "
                    "values of tensors, such as an if or a loop over them, has to be changed"
                ) from error


def _run(model: nn.Module, args: Positional, kwargs: Named) -> None:
    """Runs a module that torch.export refuses: for an example that does not fit, PyTorch's own message is clearer.

    Raises:
        UsageError: it cannot be run.
    """
    copies = pytree.tree_map_only(Tensor, torch.clone, (args, kwargs))
    try:
        model(*copies[0], **copies[1])
    except Exception as error:  # the module's own code may raise anything
        raise UsageError(f"{type(model).__name__} cannot be run on the example: {_first_line(error)}") from error


def _functional(program: ExportedProgram) -> ExportedProgram:
    """Returns the same program without operations that change tensors in place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        functional: ExportedProgram = program.run_decompositions({})
        return functional


def _has_any_batch(program: ExportedProgram) -> bool:
    """Tells whether the first size of every input may be any."""
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    specs = (spec for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT)
    inputs = [placeholders[spec.arg.name].meta.get("val") for spec in specs]
    return all(_shown(each.shape[0]) == "n" for each in inputs if isinstance(each, Tensor) and each.ndim)


def _has_other_sizes(wide: object, given: object) -> bool:
    pairs = zip(pytree.tree_leaves(wide), pytree.tree_leaves(given), strict=True)
    return any(isinstance(left, Tensor) and left.shape != right.shape for left, right in pairs)


def _has_batch(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.ndim > 0


def _wider(leaf: object) -> object:
    return torch.cat([leaf, leaf]) if isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == 1 else leaf


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]


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
        placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
        specs = program.graph_signature.input_specs
        self._wanted = [
            (spec.arg, placeholders[spec.arg.name].meta.get("val"))
            for spec in specs
            if spec.kind is InputKind.USER_INPUT
        ]
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
        shown = [_shown(size) for size in wanted.shape]
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


def _shown(size: int | torch.SymInt) -> int | str:
    return int(size) if isinstance(size, int) or size.node.expr.is_number else "n"


def _described(args: Positional, kwargs: Named) -> str:
    """Returns how arguments are given, for messages."""
    count = f"{len(args)} argument{'s' * (len(args) != 1)}"
    return f"{count} and {', '.join(kwargs)} by name" if kwargs else count


def _restore(program: ExportedProgram) -> Callable[[Sequence[object]], object]:
    spec = program.call_spec.out_spec
    return lambda outputs: pytree.tree_unflatten(list(outputs), spec)


@dataclass(frozen=True)
class InputPlace:
    """The place of an input among the arguments of a call.

    Attributes:
        index: number of the input.
    """

    index: int


class Call(nn.Module):
    """One call of a program, with its constant arguments.

    Args:
        target: what is called.
        args: the arguments, with an :class:`InputPlace` in the place of each input.
        kwargs: the named ones.
    """

    def __init__(self, target: Callable[..., object], args: Positional, kwargs: Named) -> None:
        super().__init__()
        self.target, self.args, self.kwargs = target, args, kwargs

    @override
    def forward(self, *inputs: object) -> Tensor | tuple[object]:
        args, kwargs = fx.node.map_aggregate(
            (self.args, self.kwargs), lambda each: inputs[each.index] if isinstance(each, InputPlace) else each
        )
        result = self.target(*args, **kwargs)
        return result if isinstance(result, Tensor) else (result,)  # a list is one value


# calls that return their first argument in evaluation
_IDENTITIES: dict[object, Callable[[fx.Node], bool]] = {
    torch.ops.aten.dropout.default: lambda node: node.args[2] is False,
    torch.ops.aten.contiguous.default: lambda node: True,
    torch.ops.aten.clone.default: lambda node: True,
    torch.ops.aten.alias.default: lambda node: True,
    torch.ops.aten.detach_.default: lambda node: True,
    torch.ops.aten.lift_fresh_copy.default: lambda node: True,
}
# calls that depend on how tensors lie in memory, which plans change -> calls that do not
_BY_VALUES: dict[object, Callable[..., object]] = {
    torch.ops.aten.view.default: torch.ops.aten.reshape.default,
    torch.ops.aten._unsafe_view.default: torch.ops.aten.reshape.default,
}
_CHECKS = ("_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range", "sym_constrain_range_for_size")


class Reading(NamedTuple):
    """What a step is: its kind, its settings, its weights, and which of the call's arguments are inputs.

    Attributes:
        kind: see :class:`demitasse.graph.Step`.
        settings: see there.
        weights: see there.
        inputs: the arguments that are inputs.
        call: computes it; None if that is the call itself, and the inputs are all that the call has.
    """

    kind: str
    settings: SimpleNamespace
    weights: dict[str, Tensor]
    inputs: list[fx.Node]
    call: nn.Module | None = None


# operation -> what it is, for a node whose arguments are in the order of the operation's schema; None if it is not that
OPERATIONS: Registry[Callable[[SimpleNamespace, Callable[[object], Tensor | None]], Reading | None]] = Registry(
    "operation"
)


class _Reading:
    def __init__(self, program: ExportedProgram, name: str) -> None:
        self.graph = Graph(name)
        self._numbers: dict[fx.Node, int] = {}
        self._constants: dict[object, Tensor | None] = {}
        self._with_statistics: set[fx.Node] = set()
        specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
        tensors = {**program.state_dict, **program.constants}
        for node in program.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node, specs[node.name], tensors)
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                self._outputs(node.args[0], program.graph_signature.output_specs, name)
            else:
                raise UsageError(f"torch.export made a {node.op} of {name}, which is not supported")

    def _placeholder(self, node: fx.Node, spec: InputSpec, tensors: Named) -> None:
        if spec.kind is InputKind.USER_INPUT:
            number = self.graph.add_value(node.name, _shape(node))
            self.graph.inputs[node.name] = self._numbers[node] = number
        else:
            found = tensors[str(spec.target)]
            self._constants[node] = found.detach() if isinstance(found, Tensor) else found

    def _outputs(self, found: Sequence[object], specs: Sequence[OutputSpec], name: str) -> None:
        """Takes what the module returns; what it writes into its arguments is left out.

        Raises:
            UsageError: it changes its buffers, which a graph does not have.
        """
        for each, spec in zip(found, specs, strict=True):
            if spec.kind is OutputKind.BUFFER_MUTATION:
                raise UsageError(f"{name} changes its buffer {spec.target!r} in evaluation, which cannot be optimized")
            if spec.kind is OutputKind.USER_OUTPUT:
                self.graph.outputs[str(len(self.graph.outputs))] = self._number(each)

    def _number(self, each: object) -> int:
        """Returns the number of a value, of a new one if it is a constant that the module returns."""
        if isinstance(each, fx.Node) and each in self._numbers:
            return self._numbers[each]
        constant = self._constants[each] if isinstance(each, fx.Node) else each
        number = self.graph.add_value("constant", tuple(constant.shape) if isinstance(constant, Tensor) else ())
        call = Call(lambda: constant.clone() if isinstance(constant, Tensor) else constant, (), {})
        self.graph.steps.append(Step(f"constant{number}", "constant", [], [number], SimpleNamespace(), {}, call))
        return number

    def _call(self, node: Any) -> None:
        name = getattr(node.target, "_opname", "")
        if name in _CHECKS:
            return
        if name in ("as_strided", "set_"):
            raise UsageError(f"{self.graph.name} calls {name}, which depends on how tensors lie in memory")
        first = node.args[0] if node.args else None
        same = self._is_first(node) or (node.target in _IDENTITIES and _IDENTITIES[node.target](node))
        if same and first in self._numbers:
            self._numbers[node] = self._numbers[first]
            return
        reading = self._read(node)
        inputs: list[fx.Node] = []

        def place(each: fx.Node) -> Any:
            if each in self._constants:
                return self._constants[each]
            if each not in inputs:
                inputs.append(each)
            return InputPlace(inputs.index(each))

        args, kwargs = fx.node.map_arg(node.args, place), fx.node.map_arg(node.kwargs, place)
        if reading is None or (reading.call is None and reading.inputs != inputs):
            kind = name or getattr(node.target, "__name__", str(node.target))
            reading = Reading(kind, SimpleNamespace(), {}, inputs)
        elif reading.kind == "BatchNorm":
            self._with_statistics.add(node)
        number = self.graph.add_value(node.name, _shape(node))
        self._numbers[node] = number
        given = [self._numbers[each] for each in reading.inputs]
        call = reading.call or Call(_BY_VALUES.get(node.target, node.target), args, kwargs)
        self.graph.steps.append(Step(node.name, reading.kind, given, [number], reading.settings, reading.weights, call))

    def _is_first(self, node: Any) -> bool:
        """Tells whether a node takes the first of the results of a normalization, whose step has no others."""
        return node.target is operator.getitem and node.args[0] in self._with_statistics and node.args[1] == 0

    def _read(self, node: fx.Node) -> Reading | None:
        target = node.target
        if not isinstance(target, OpOverload) or str(target) not in OPERATIONS:
            return None
        arguments = SimpleNamespace()
        for index, described in enumerate(target._schema.arguments):
            default = described.default_value
            given = node.args[index] if index < len(node.args) else node.kwargs.get(described.name, default)
            setattr(arguments, described.name, given)
        return OPERATIONS[str(target)](arguments, lambda each: self._constants.get(each))


def _shape(node: fx.Node) -> Shape:
    found = node.meta.get("val")
    found = found[0] if isinstance(found, tuple) else found
    return tuple(_size(size) for size in found.shape) if isinstance(found, Tensor) else ()


def _size(size: int | torch.SymInt) -> int:
    """Returns a size, of the example where it may be any."""
    return int(size.node.hint) if isinstance(size, torch.SymInt) else int(size)
