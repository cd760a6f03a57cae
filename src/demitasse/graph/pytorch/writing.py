"""Writes the graph of a module as text: calls of functions by name, and what the module takes and returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from demitasse.graph.allowed import ALLOWED, CONSTANT, WORDS
from demitasse.graph.calling import constant_value
from demitasse.graph.graph import Graph, Step
from demitasse.graph.named import InputPlace, ProgramCall
from demitasse.graph.pytorch.arguments import described
from demitasse.graph.settings import expect
from demitasse.graph.signature import (
    ConstantInput,
    OpenSize,
    Signature,
    Structure,
    Symbol,
    TensorInput,
    encoded,
    written_signature,
)
from demitasse.graph.storing import Names, as_text, plain, written_steps


def module_text(graph: Graph, program: ExportedProgram, names: Mapping[int, str], tensors: Mapping[str, Tensor]) -> str:
    """Returns the graph of a module as text.

    Args:
        graph: the graph.
        program: what it was read from.
        names: ``id`` of a tensor -> its name in the file.
        tensors: the tensors of the file by name.

    Raises:
        FileFormatError: something has no stored form; names it.
    """
    signature = _signature(program)
    calls = _Calls(graph, names, signature.symbols)
    steps, made = written_steps(graph, Names(calls.weights, tensors, keeps_steps=False, call=calls.written))
    returned = iter([made[number] for number in graph.outputs.values()])
    results = _structure(program.call_spec.out_spec, returned, "returns")
    found: dict[str, object] = {"name": graph.name, **written_signature(signature)}
    return as_text({**found, "steps": steps, "results": encoded(results)})


def _signature(program: ExportedProgram) -> Signature:
    """Returns what a module takes; its results are not known before its steps are written."""
    found = described(program)
    positional, named = _arguments(program.call_spec.in_spec, len(found.inputs))
    renamed = {name: f"n{index or ''}" for index, name in enumerate(found.symbols)}
    inputs = tuple(_input(each, renamed) for each in found.inputs)
    symbols = {renamed[name]: Symbol(each.hint, max(each.least, 2), each.most) for name, each in found.symbols.items()}
    return Signature(inputs, symbols, positional, named, ())


def _arguments(spec: pytree.TreeSpec, count: int) -> tuple[tuple[Structure, ...], dict[str, Structure]]:
    found = _structure(spec, iter(range(count)), "takes")
    assert isinstance(found, tuple)
    return found[0], found[1]


def _input(given: TensorInput | ConstantInput, names: Mapping[str, str]) -> TensorInput | ConstantInput:
    if isinstance(given, TensorInput):
        return given._replace(sizes=tuple(_renamed(given.name, size, names) for size in given.sizes))
    plain = given.value is None or isinstance(given.value, bool | int | float | str)
    expect(plain, f"argument {given.name} is {given.value!r}", "a tensor, a number, a text or None")
    return given


def _renamed(name: str, size: int | OpenSize, names: Mapping[str, str]) -> int | OpenSize:
    if isinstance(size, int):
        return size
    expect(size.symbol in names, f"argument {name} has size {size.symbol}", "a multiple of another size")
    return size._replace(symbol=names[size.symbol])


def _structure(spec: pytree.TreeSpec, numbers: Iterator[int], verb: str) -> Structure:
    """Returns a structure of torch's as plain data; mappings of other classes become dicts."""
    if spec.is_leaf():
        return next(numbers)
    children = spec.children() if hasattr(spec, "children") else spec.children_specs
    parts = [_structure(child, numbers, verb) for child in children]
    if spec.type is tuple:
        return tuple(parts)
    if spec.type is list:
        return parts
    keys = spec.context
    is_mapping = isinstance(spec.type, type) and issubclass(spec.type, Mapping) and isinstance(keys, list)
    found = getattr(spec.type, "__name__", spec.type)
    expect(is_mapping and all(isinstance(key, str) for key in keys), f"the module {verb} a {found}", "tuples and dicts")
    return dict(zip(keys, parts, strict=True))


class _Calls:
    """Writes calls.

    Args:
        graph: the graph.
        names: ``id`` of a tensor -> its name in the file.
        symbols: name of a size that may be any -> what it may be.
    """

    def __init__(self, graph: Graph, names: Mapping[int, str], symbols: Mapping[str, Symbol]) -> None:
        self._graph, self._names, self._symbols = graph, names, symbols

    def weights(self, step: Step) -> dict[str, str]:
        """Returns role -> name of a tensor, for the weights of a step."""
        return {role: self._names[id(weight)] for role, weight in step.weights.items()}

    def written(self, step: Step, made: Mapping[int, int]) -> list[object]:
        """Returns a call as JSON has it."""
        call = step.maker
        expect(isinstance(call, ProgramCall), f"an operation of kind {step.kind}", "a call of a function")
        assert isinstance(call, ProgramCall)
        name = name_of(call.target)
        expect(name in ALLOWED, f"it calls {name}", "one of the functions that a file may call")

        def write(argument: object) -> object:
            if isinstance(argument, InputPlace):
                return f"%{made[step.inputs[argument.index]]}"
            if isinstance(argument, Tensor):
                return f"&{self._names[id(argument)]}"
            if isinstance(argument, tuple | list):
                return [write(each) for each in argument]
            if argument is None or isinstance(argument, bool | int | float):
                return plain(argument)
            word = str(argument)
            expect(word in WORDS, f"argument {word} of {name}", "a number or one of the words that a file may contain")
            return word

        shape = self._shape(step.outputs[0])
        named = {word: write(each) for word, each in call.kwargs.items()}
        return [name, [write(each) for each in call.args], *([shape] if shape else []), *([named] if named else [])]

    def _shape(self, number: int) -> list[object]:
        """Returns the shape of a value as JSON has it; its first size is a text if it is that of the batch."""
        shape, has_batch = self._graph.values[number].shape, number not in self._graph.without_batch
        hints = {name: (symbol.hint,) for name, symbol in self._symbols.items()}
        names = [name for name, hint in hints.items() if has_batch and shape[:1] == hint]
        return [*names[:1], *shape[1:]] if names else list(shape)


def name_of(function: Callable[..., object]) -> str:
    """Returns the name of a function as files have it, whether they may name it or not."""
    if function is constant_value:
        return CONSTANT
    if isinstance(function, torch._ops.OpOverload):
        return str(function)
    return f"{function.__module__.removeprefix('_')}.{getattr(function, '__name__', function)}"
