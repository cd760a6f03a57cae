"""Graphs as text, as a whole-model file stores them: ``docs/demi_format.md`` describes the form.

The text comes from a stranger: it is JSON and nothing else, names only the kinds of :mod:`demitasse.graph.kinds` and
the functions of :mod:`demitasse.graph.allowed`, and everything in it is checked before it is used. Reading it needs
neither PyTorch nor the layers of Caffe.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from demitasse.errors import FileFormatError
from demitasse.graph.graph import Graph
from demitasse.graph.guard import Guard
from demitasse.graph.settings import expect
from demitasse.graph.signature import ConstantInput, Signature, TensorInput, leaves, read_signature, shape_of
from demitasse.graph.stored_steps import StepReader, number_of, object_of, text_of
from demitasse.graph.weights import Weight

KEY = "graph"
# constants of a graph that are not part of the state of its module are tensors with this before their names
HIDDEN = f"{KEY}:"
# characters of a text, and steps of a graph
_MOST_TEXT, _MOST_STEPS = 1 << 22, 1 << 16
_KEYS = ("name", "inputs", "sizes", "arguments", "steps", "outputs", "results")


class Stored(NamedTuple):
    """A graph that was read.

    Attributes:
        graph: the graph, before any pass.
        signature: what a PyTorch module takes and returns; None of a Caffe net, whose inputs and outputs have names.
    """

    graph: Graph
    signature: Signature | None


def read_graph(text: str, tensors: Mapping[str, Weight], place: str = KEY) -> Graph:
    """Returns the graph of a text; see :func:`read_stored`."""
    return read_stored(text, tensors, place).graph


def read_stored(text: str, tensors: Mapping[str, Weight], place: str = KEY) -> Stored:
    """Returns the graph of a text, and what it takes and returns.

    Args:
        text: what :mod:`demitasse.graph.storing` made, or anything.
        tensors: the tensors of the file by name: of PyTorch, or anything else with shape and type. A tensor is taken
            once, and only if a step has it.
        place: of the text, for messages: the name of the file.

    Raises:
        FileFormatError: the text is no graph, or does not fit the tensors; names the place, what it found and what
            it expected.
    """
    try:
        found = _parsed(text)
        signature = read_signature(found) if "results" in found else None
        return Stored(_graph(found, signature, tensors), signature)
    except FileFormatError as error:
        raise error.within(f"{place}: metadata {KEY!r}") from error


def _parsed(text: str) -> Mapping[str, object]:
    expect(len(text) <= _MOST_TEXT, f"{len(text):,} characters", f"at most {_MOST_TEXT:,}")
    try:
        found = object_of(json.loads(text), "the text")
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"is not JSON: {error}") from error
    for name in found:
        expect(name in _KEYS, f"unknown {name!r}", f"one of {', '.join(_KEYS)}")
    return found


def _graph(found: Mapping[str, object], signature: Signature | None, tensors: Mapping[str, Weight]) -> Graph:
    graph = Graph(text_of(found.get("name", ""), "name"))
    reader = StepReader(graph, tensors, signature is None)
    symbols = {} if signature is None else signature.symbols
    reader.hints = {name: symbol.hint for name, symbol in symbols.items()}
    for given in _inputs(found) if signature is None else signature.inputs:
        name = text_of(given.name, "inputs")
        graph.inputs[name] = reader.value(name, shape_of(given, symbols))
    steps = found.get("steps")
    if not isinstance(steps, list) or len(steps) > _MOST_STEPS:
        raise FileFormatError(f"steps: found no list; expected one of at most {_MOST_STEPS:,} steps")
    for index, step in enumerate(steps):
        try:
            reader.read(step)
        except FileFormatError as error:
            raise error.within(f"step {index}") from error
    graph.outputs = _outputs(found.get("outputs"), graph) if signature is None else _results(signature, graph)
    graph.check = None if signature is None else Guard(graph)
    return graph


def _inputs(found: Mapping[str, object]) -> tuple[TensorInput | ConstantInput, ...]:
    """Returns the inputs of a Caffe net, which have a shape and nothing else."""
    inputs = read_signature({**found, "results": 0}).inputs
    for given in inputs:
        plain = isinstance(given, TensorInput) and all(isinstance(size, int) for size in given.sizes)
        expect(plain, f"input {given.name!r}: found {given}", "a list of sizes")
    return inputs


def _outputs(found: object, graph: Graph) -> dict[str, int]:
    """Returns name -> number of a value; by default what the last step makes, under its name."""
    made = len(graph.values)
    if found is None:
        expect(bool(graph.steps), "no steps and no outputs", "one of them")
        return {graph.steps[-1].name: made - 1}
    return {text_of(name, "outputs"): number_of(each, made) for name, each in object_of(found, "outputs").items()}


def _results(signature: Signature, graph: Graph) -> dict[str, int]:
    """Returns the values that a module returns, under their numbers in order."""
    numbers = leaves(signature.results)
    return {str(index): number_of(each, len(graph.values)) for index, each in enumerate(numbers)}
