"""Writes graphs as text, without what :mod:`demitasse.graph.stored` finds by itself when it reads them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from demitasse.errors import FileFormatError
from demitasse.graph.graph import Graph, Step
from demitasse.graph.kinds import KINDS, Kind
from demitasse.graph.settings import expect
from demitasse.graph.stored_steps import default_names


class Names(NamedTuple):
    """What the parts of a graph are called in the file.

    Attributes:
        of_step: returns role -> name of a tensor, for the weights of a step.
        tensors: the tensors of the file by name.
        keeps_steps: whether steps keep their names; else they are called after their layers.
        call: returns what is written for a step that is a call, given number of a value -> its number in the file.
    """

    of_step: Callable[[Step], Mapping[str, str]]
    tensors: Mapping[str, object]
    keeps_steps: bool = True
    call: Callable[[Step, Mapping[int, int]], list[object]] | None = None


class Written(NamedTuple):
    """The steps of a graph as JSON has them.

    Attributes:
        steps: the steps.
        numbers: number of a value -> its number in the file.
    """

    steps: list[list[object]]
    numbers: Mapping[int, int]


def written_graph(graph: Graph, names: Names) -> str:
    """Returns a graph whose inputs and outputs are called by name.

    Args:
        graph: as it was read, before any pass.
        names: what its parts are called.

    Raises:
        FileFormatError: a step has no stored form; names the step and the reason.
    """
    steps, made = written_steps(graph, names)
    found: dict[str, object] = {"name": graph.name} if graph.name else {}
    found["inputs"] = {name: list(graph.values[number].shape) for name, number in graph.inputs.items()}
    found["steps"] = steps
    outputs = {name: made[number] for name, number in graph.outputs.items()}
    if not steps or outputs != {graph.steps[-1].name: len(made) - 1}:
        found["outputs"] = outputs
    return as_text(found)


def as_text(found: Mapping[str, object]) -> str:
    """Returns JSON without spaces."""
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def written_steps(graph: Graph, names: Names) -> Written:
    """Returns the steps of a graph; for the arguments and errors see :func:`written_graph`."""
    made = {number: index for index, number in enumerate(graph.inputs.values())}
    steps: list[list[object]] = []
    taken: set[str] = set()
    for step in graph.steps:
        try:
            expect(len(step.outputs) == 1, f"found {len(step.outputs)} outputs", "one")
            if step.kind not in KINDS and names.call is not None:
                steps.append(names.call(step, made))
            else:
                steps.append(_written_step(graph, step, made, names, taken))
        except FileFormatError as error:
            raise error.within(f"{step.name!r}") from error
        made[step.outputs[0]] = len(made)
    return Written(steps, made)


def _written_step(graph: Graph, step: Step, made: Mapping[int, int], names: Names, taken: set[str]) -> list[object]:
    expect(step.kind in KINDS, f"an operation of kind {step.kind}", f"one of {', '.join(KINDS)}")
    kind = KINDS[step.kind]
    given: dict[str, object] = dict(names.of_step(step))
    layer = _layer(step.kind, step.name, given, names.tensors)
    found: list[object] = [step.kind, *_called(step, layer if given else None, names.keeps_steps, taken)]
    given = {} if layer is not None else given
    if [made[number] for number in step.inputs] != [len(made) - 1]:
        found.append([made[number] for number in step.inputs])
    given |= _least_settings(kind, step, graph)
    return [*found, given] if given else found


def _called(step: Step, layer: str | None, keeps: bool, taken: set[str]) -> list[str]:
    """Returns the name of a step, and the layer of its weights if that is another."""
    name = step.name if keeps else layer
    if name is None:
        return []
    while name in taken:
        name += "'"
    taken.add(name)
    return [name] if layer in (None, name) else [name, layer]


def _layer(kind: str, name: str, given: Mapping[str, object], tensors: Mapping[str, object]) -> str | None:
    """Returns the layer by which the tensors of a step are found; None if each has to be named."""
    layers = {str(each).rpartition(".")[0] for each in given.values()} or {name}
    for layer in layers:
        if default_names(kind, layer, tensors) == given:
            return layer
    return None


def _least_settings(kind: Kind, step: Step, graph: Graph) -> dict[str, object]:
    """Returns the settings that cannot be left out."""
    shapes = graph.shapes(step)
    weights = {role: tuple(weight.shape) for role, weight in step.weights.items() if role in kind.weights}
    given = {name: plain(getattr(step.settings, name)) for name in kind.settings if hasattr(step.settings, name)}

    def fits(settings: Mapping[str, object]) -> bool:
        try:
            found = kind.found(settings, shapes, weights)
        except FileFormatError:
            return False
        same = _comparable(vars(found.settings)) == _comparable(vars(step.settings))
        return same and found.shape == graph.values[step.outputs[0]].shape

    if not fits(given):
        found = kind.found(given, shapes, weights)
        raise FileFormatError(f"found {vars(step.settings)}; expected {vars(found.settings)}")
    for name, value in list(given.items()):
        less = {other: each for other, each in given.items() if other != name}
        one = {**given, name: value[0]} if isinstance(value, list) and value else given
        given = less if fits(less) else one if fits(one) else given
    return given


def plain(value: object) -> object:
    """Returns a number, or a list of them, as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return [plain(each) for each in value] if isinstance(value, tuple | list) else value


def _comparable(settings: Mapping[str, object]) -> dict[str, object]:
    return {name: plain(value) for name, value in settings.items()}
