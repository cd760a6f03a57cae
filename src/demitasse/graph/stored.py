"""Graphs as text, as a whole-model file stores them: ``docs/demi_format.md`` describes the form.

The text comes from a stranger: it is JSON and nothing else, names only the kinds of :mod:`demitasse.graph.kinds`, and
everything in it is checked before it is used. Reading it needs neither PyTorch nor the layers of Caffe.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping

import numpy as np

from demitasse.errors import FileFormatError
from demitasse.graph.graph import Graph, Shape, Step
from demitasse.graph.kinds import KINDS, Kind, expect, is_whole
from demitasse.graph.weights import Weight, array

KEY = "graph"
# characters of a text, steps of a graph, and entries of all its values together, for one item of a batch
_MOST_TEXT, _MOST_STEPS, _MOST_ENTRIES = 1 << 22, 1 << 16, 1 << 32
_MOST_AXES, _LARGEST = 32, 1 << 31

# weight of a step -> the last parts that the name of its tensor may have: a PyTorch module's, or a Caffe blob's by kind
_ROLES = {"weight": "weight", "bias": "bias", "mean": "running_mean", "variance": "running_var", "factor": "factor"}
_BLOBS = {"Bias": ("bias",), "BatchNorm": ("mean", "variance", "factor", "weight", "bias")}
_BLOBS_OF_OTHERS = ("weight", "bias")


def read_graph(text: str, tensors: Mapping[str, Weight], place: str = KEY) -> Graph:
    """Returns the graph of a text.

    Args:
        text: what :func:`written_graph` returned, or anything.
        tensors: the tensors of the file by name: of PyTorch, or anything else that has a shape. A tensor is taken once,
            and only if a step has it.
        place: of the text, for messages: the name of the file.

    Raises:
        FileFormatError: the text is no graph, or does not fit the tensors; names the place, what it found and what
            it expected.
    """
    try:
        return _Reader(_parsed(text), tensors).graph
    except FileFormatError as error:
        raise error.within(f"{place}: metadata {KEY!r}") from error


def _parsed(text: str) -> dict[str, object]:
    expect(len(text) <= _MOST_TEXT, f"{len(text):,} characters", f"at most {_MOST_TEXT:,}")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise FileFormatError(f"found {type(found).__name__}; expected an object")
    for name in found:
        expect(name in ("name", "inputs", "steps", "outputs"), f"unknown {name!r}", "name, inputs, steps and outputs")
    return found


class _Reader:
    """Makes a graph of what JSON says."""

    def __init__(self, found: Mapping[str, object], tensors: Mapping[str, Weight]) -> None:
        self._tensors = tensors
        self._taken: dict[str, Weight] = {}
        self._names: set[str] = set()
        self._entries = 0
        self.graph = Graph(_text(found.get("name", ""), "name"))
        for name, shape in _object(found.get("inputs"), "inputs").items():
            self.graph.inputs[_text(name, "inputs")] = self._value(name, _shape(shape, f"input {name!r}"))
        steps = found.get("steps")
        if not isinstance(steps, list) or len(steps) > _MOST_STEPS:
            raise FileFormatError(f"steps: found no list; expected one of at most {_MOST_STEPS:,} steps")
        for index, step in enumerate(steps):
            try:
                self._step(step)
            except FileFormatError as error:
                raise error.within(f"step {index}") from error
        self._outputs(found.get("outputs"))

    def _value(self, name: str, shape: Shape) -> int:
        self._entries += math.prod(shape[1:])
        expect(self._entries <= _MOST_ENTRIES, f"{self._entries:,} entries an item", f"at most {_MOST_ENTRIES:,}")
        expect(all(0 < size <= _LARGEST for size in shape), f"a value of shape {list(shape)}", "sizes of 1 and more")
        return self.graph.add_value(name, shape)

    def _step(self, found: object) -> None:
        """Reads ``[kind, name, layer, inputs, settings]``, of which all but the kind may be missing."""
        parts = found if isinstance(found, list) else []
        texts = [each for each in parts[:3] if isinstance(each, str)]
        rest = parts[len(texts) :]
        numbers = rest.pop(0) if rest and isinstance(rest[0], list) else None
        given = rest.pop(0) if rest and isinstance(rest[0], dict) else {}
        expect(bool(texts) and not rest, f"found {found!r}", "[kind, name, layer, inputs, settings]")
        expect(texts[0] in KINDS, f"unknown kind {texts[0]!r}", f"one of {', '.join(KINDS)}")
        name = _text(texts[1], "name") if len(texts) > 1 else f"{texts[0].lower()}_{len(self.graph.values)}"
        expect(name not in self._names, f"a second step {name!r}", "another name")
        self._names.add(name)
        try:
            self._known_step(texts[0], name, texts[-1] if len(texts) > 1 else "", self._inputs(numbers), given)
        except FileFormatError as error:
            raise error.within(f"{name!r}") from error

    def _known_step(self, kind: str, name: str, layer: str, inputs: list[int], given: Mapping[str, object]) -> None:
        known = KINDS[kind]
        explicit = {role: given[role] for role in given if role in _ROLES and role in {*known.weights, "factor"}}
        names = explicit or default_names(kind, layer, self._tensors)
        settings = {setting: value for setting, value in given.items() if setting not in explicit}
        weights = {role: self._tensor(role, each) for role, each in names.items()}
        if "factor" in weights:
            _divide(weights)
        shapes = {role: tuple(weight.shape) for role, weight in weights.items()}
        for role, shape in shapes.items():
            expect(min(shape, default=1) > 0, f"{role} of shape {list(shape)}", "sizes of 1 and more")
        found = known.found(settings, [self.graph.values[number].shape for number in inputs], shapes)
        made = self._value(name, found.shape)
        self.graph.steps.append(Step(name, kind, inputs, [made], found.settings, weights))

    def _tensor(self, role: str, name: object) -> Weight:
        name = _text(name, role)
        expect(name in self._tensors, f"there is no tensor {name!r}", f"the {role} of the step")
        if name not in self._taken:
            tensor = self._tensors[name]
            dtype = str(tensor.dtype).removeprefix("torch.")
            expect(dtype == "float32", f"tensor {name!r} of type {dtype}", "float32")
            self._taken[name] = tensor
        return self._taken[name]

    def _inputs(self, numbers: list[object] | None) -> list[int]:
        """Returns the inputs of a step; by default the value that was made last."""
        made = len(self.graph.values)
        if numbers is None:
            return [_number(made - 1, made)]
        return [_number(number, made) for number in numbers]

    def _outputs(self, found: object) -> None:
        """Reads name -> number of a value; by default what the last step makes, under its name."""
        made = len(self.graph.values)
        if found is None:
            expect(bool(self.graph.steps), "no steps and no outputs", "one of them")
            self.graph.outputs = {self.graph.steps[-1].name: made - 1}
            return
        outputs = _object(found, "outputs")
        self.graph.outputs = {_text(name, "outputs"): _number(number, made) for name, number in outputs.items()}


def _text(found: object, what: str) -> str:
    if not isinstance(found, str) or any("\ud800" <= each <= "\udfff" for each in found):
        raise FileFormatError(f"{what}: found {found!r}; expected text")
    return found


def _object(found: object, what: str) -> Mapping[str, object]:
    if not isinstance(found, dict):
        raise FileFormatError(f"{what}: found {found!r}; expected an object")
    return found


def _shape(found: object, what: str) -> Shape:
    fits = isinstance(found, list) and len(found) <= _MOST_AXES and all(is_whole(size, 1, _LARGEST) for size in found)
    expect(fits, f"{what}: found shape {found!r}", f"up to {_MOST_AXES} sizes from 1 to {_LARGEST:,}")
    assert isinstance(found, list)
    return tuple(found)


def _number(found: object, made: int) -> int:
    if not isinstance(found, int) or not is_whole(found, 0, made - 1):
        raise FileFormatError(f"found value {found!r}; expected the number of a value before, less than {made}")
    return found


def _divide(weights: dict[str, Weight]) -> None:
    """Makes mean and variance of the sums that a Caffe net stores, and of the sum of their weights."""
    factor = weights.pop("factor")
    expect(tuple(factor.shape) == (1,), f"factor of shape {list(factor.shape)}", "[1]")
    with np.errstate(all="ignore"):
        share = 1 / array(factor) if array(factor)[0] else array(factor)
        for role in ("mean", "variance"):
            if role in weights:
                weights[role] = array(weights[role]) * share


def default_names(kind: str, layer: str, tensors: Mapping[str, object]) -> dict[str, str]:
    """Returns role -> name of a tensor of a layer, for the roles that the file has a tensor for."""
    found: dict[str, str] = {}
    if kind not in KINDS:
        return found
    for role in (*KINDS[kind].weights, *(["factor"] if kind == "BatchNorm" else [])):
        blobs = _BLOBS.get(kind, _BLOBS_OF_OTHERS)
        names = [f"{layer}.{blobs.index(role)}"] if role in blobs else []
        for name in (f"{layer}.{_ROLES[role]}", *names):
            if layer and name in tensors:
                found[role] = name
                break
    return found


# returns role -> name of a tensor in the file, for the weights of a step
Naming = Callable[[Step], Mapping[str, str]]


def written_graph(graph: Graph, names: Naming, tensors: Mapping[str, object]) -> str:
    """Returns a graph as text, without what :func:`read_graph` finds by itself.

    Args:
        graph: as it was read, before any pass.
        names: gives the names of the tensors of a step.
        tensors: the tensors of the file by name.

    Raises:
        FileFormatError: a step has no stored form; names the step and the reason.
    """
    made: dict[int, int] = {number: index for index, number in enumerate(graph.inputs.values())}
    steps = []
    for step in graph.steps:
        try:
            steps.append(_written_step(graph, step, made, names, tensors))
        except FileFormatError as error:
            raise error.within(f"{step.name!r}") from error
        made[step.outputs[0]] = len(made)
    found: dict[str, object] = {"name": graph.name} if graph.name else {}
    found["inputs"] = {name: list(graph.values[number].shape) for name, number in graph.inputs.items()}
    found["steps"] = steps
    outputs = {name: made[number] for name, number in graph.outputs.items()}
    if not steps or outputs != {graph.steps[-1].name: len(made) - 1}:
        found["outputs"] = outputs
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False)


def _written_step(
    graph: Graph, step: Step, made: Mapping[int, int], names: Naming, tensors: Mapping[str, object]
) -> list[object]:
    expect(step.kind in KINDS, f"an operation of kind {step.kind}", f"one of {', '.join(KINDS)}")
    expect(len(step.outputs) == 1, f"found {len(step.outputs)} outputs", "one")
    kind = KINDS[step.kind]
    found: list[object] = [step.kind, step.name]
    given: dict[str, object] = dict(names(step))
    layer = _layer(step.kind, step.name, given, tensors)
    if layer is not None:
        given = {}
        found += [layer] if layer != step.name else []
    if [made[number] for number in step.inputs] != [len(made) - 1]:
        found.append([made[number] for number in step.inputs])
    given |= _least_settings(kind, step, graph)
    return [*found, given] if given else found


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
    given = {name: _plain(getattr(step.settings, name)) for name in kind.settings if hasattr(step.settings, name)}

    def fits(settings: Mapping[str, object]) -> bool:
        try:
            found = kind.found(settings, shapes, weights)
        except FileFormatError:
            return False
        return _comparable(vars(found.settings)) == _comparable(vars(step.settings))

    if not fits(given):
        kind.found(given, shapes, weights)
        raise FileFormatError(f"found settings {vars(step.settings)}; expected settings that follow from {given}")
    for name in list(given):
        less = {other: value for other, value in given.items() if other != name}
        given = less if fits(less) else given
    return {name: _short(value) for name, value in given.items()}


def _plain(value: object) -> object:
    """Returns a setting as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value


def _short(value: object) -> object:
    """Returns one size for all axes where they are equal."""
    return value[0] if isinstance(value, list) and len(value) > 1 and value == value[:1] * len(value) else value


def _comparable(settings: Mapping[str, object]) -> dict[str, object]:
    return {name: _plain(value) for name, value in settings.items()}
