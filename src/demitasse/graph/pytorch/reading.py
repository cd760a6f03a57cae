"""Reads the calls of a program of torch.export as the steps of a graph."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, OutputKind, OutputSpec

from demitasse.errors import UsageError
from demitasse.graph.calling import constant_value
from demitasse.graph.graph import Graph, Ready, Shape, Step
from demitasse.graph.named import InputPlace, ProgramCall
from demitasse.graph.pytorch.arguments import Named
from demitasse.registry import Registry

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


class ReadProgram(NamedTuple):
    """A program as a graph.

    Attributes:
        graph: what it computes.
        tensors: name of a parameter, a buffer or another constant -> the tensor that the graph has.
    """

    graph: Graph
    tensors: dict[str, Tensor]


def read_program(program: ExportedProgram, name: str, folds: bool = False) -> ReadProgram:
    """Returns the graph of a program.

    Args:
        program: the program.
        name: of the module.
        folds: whether what depends on no input is computed now, once, such as a weight times its mask; such tensors are
            those of no state.

    Raises:
        UsageError: the module changes its buffers, or depends on how tensors lie in memory.
    """
    reader = _ProgramReader(program, name, folds)
    return ReadProgram(reader.graph, reader.tensors)


class _ProgramReader:
    def __init__(self, program: ExportedProgram, name: str, folds: bool) -> None:
        self.graph = Graph(name)
        self._folds = folds
        self.tensors: dict[str, Tensor] = {}
        self._numbers: dict[fx.Node, int] = {}
        self._constants: dict[object, object] = {}
        self._with_statistics: set[fx.Node] = set()
        self._batches: set[object] = set()  # first sizes of inputs, where they may be any
        specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
        tensors = {**program.state_dict, **program.constants}
        for node in program.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node, specs[node.name], tensors)
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                self._outputs(node.args[0], program.graph_signature.output_specs, name)
            else:  # the body of torch.cond, torch.while_loop or torch.map
                raise UsageError(f"{name} has a branch or a loop inside its program, which is not supported")

    def _placeholder(self, node: fx.Node, spec: InputSpec, tensors: Named) -> None:
        if spec.kind is InputKind.USER_INPUT:
            value = node.meta.get("val")
            if isinstance(value, Tensor) and value.ndim and isinstance(value.shape[0], torch.SymInt):
                self._batches.add(value.shape[0].node.expr)
            number = self.graph.add_value(node.name, _shape(node))
            self.graph.inputs[node.name] = self._numbers[node] = number
        else:
            found = tensors[str(spec.target)]
            if isinstance(found, Tensor):
                found = self.tensors[str(spec.target)] = found.detach()
            self._constants[node] = found

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
        shape = tuple(constant.shape) if isinstance(constant, Tensor) else ()
        number = self.graph.add_value("constant", shape, has_batch=not self._batches)
        maker = ProgramCall(constant_value, (constant,), {})
        self.graph.steps.append(Step(f"constant{number}", "constant", [], [number], SimpleNamespace(), {}, maker))
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
        if self._folds and self._is_constant(node):
            known: Callable[[fx.Node], Any] = self._constants.__getitem__
            args, kwargs = fx.node.map_arg(node.args, known), fx.node.map_arg(node.kwargs, known)
            with torch.no_grad():
                self._constants[node] = node.target(*args, **kwargs)
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
        fits = reading is not None and all(each in self._numbers for each in reading.inputs)
        if reading is None or not fits or (reading.call is None and reading.inputs != inputs):
            kind = name or getattr(node.target, "__name__", str(node.target))
            reading = Reading(kind, SimpleNamespace(), {}, inputs)
        elif reading.kind == "BatchNorm":
            self._with_statistics.add(node)
        number = self.graph.add_value(node.name, _shape(node), self._has_batch(node))
        self._numbers[node] = number
        given = [self._numbers[each] for each in reading.inputs]
        target = _BY_VALUES.get(node.target, node.target)
        maker = Ready(reading.call) if reading.call else ProgramCall(target, args, kwargs)
        step = Step(node.name, reading.kind, given, [number], reading.settings, {**reading.weights}, maker)
        self.graph.steps.append(step)

    def _is_constant(self, node: fx.Node) -> bool:
        """Tells whether a call takes constants and nothing else, and always gives the same."""
        given, target = node.all_input_nodes, node.target
        if isinstance(target, OpOverload) and torch.Tag.nondeterministic_seeded in target.tags:
            return False
        return bool(given) and all(each in self._constants for each in given)

    def _has_batch(self, node: fx.Node) -> bool:
        """Tells whether the first size of a value is that of the batch, and the others do not depend on it."""
        value = node.meta.get("val")
        value = value[0] if isinstance(value, tuple) else value
        if not self._batches:
            return True
        if not isinstance(value, Tensor) or not value.ndim:
            return False
        first, *others = value.shape
        is_batch = isinstance(first, torch.SymInt) and first.node.expr in self._batches
        return is_batch and not any(isinstance(size, torch.SymInt) for size in others)

    def _is_first(self, node: fx.Node) -> bool:
        """Tells whether a node takes the first of the results of a normalization, whose step has no others."""
        return node.target is operator.getitem and node.args[0] in self._with_statistics and node.args[1:] == (0,)

    def _tensor(self, each: object) -> Tensor | None:
        """Returns a constant tensor; None for anything else."""
        found = self._constants.get(each) if isinstance(each, fx.Node) else None
        return found if isinstance(found, Tensor) else None

    def _read(self, node: fx.Node) -> Reading | None:
        target = node.target
        if not isinstance(target, OpOverload) or str(target) not in OPERATIONS:
            return None
        arguments = SimpleNamespace()
        for index, described in enumerate(target._schema.arguments):
            default = described.default_value
            given = node.args[index] if index < len(node.args) else node.kwargs.get(described.name, default)
            setattr(arguments, described.name, given)
        return OPERATIONS[str(target)](arguments, self._tensor)


def _shape(node: fx.Node) -> Shape:
    found = node.meta.get("val")
    found = found[0] if isinstance(found, tuple) else found
    return tuple(_size(size) for size in found.shape) if isinstance(found, Tensor) else ()


def _size(size: int | torch.SymInt) -> int:
    """Returns a size, of the example where it may be any; 1 where it depends on the values of tensors."""
    if isinstance(size, torch.SymInt):
        return 1 if size.node.hint is None else int(size.node.hint)
    return int(size)
