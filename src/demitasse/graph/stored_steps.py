"""Reads the steps of a stored graph: operations of a known kind, and calls of allowed functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np

from demitasse.errors import FileFormatError
from demitasse.graph.allowed import ALLOWED, WORDS
from demitasse.graph.graph import Graph, Shape, Step
from demitasse.graph.kinds import KINDS
from demitasse.graph.named import InputPlace, NamedCall, Word
from demitasse.graph.settings import LARGEST, MOST_AXES, expect, is_whole
from demitasse.graph.weights import Weight, array

# entries of all values of a graph together, for one item of a batch
MOST_ENTRIES = 1 << 30
_LEVELS = 4  # of lists in the arguments of a call
_FLOATS = ("float32", "float64", "float16", "bfloat16")

# weight of a step -> the last parts that the name of its tensor may have: a PyTorch module's, or a Caffe blob's by kind
_ROLES = {"weight": "weight", "bias": "bias", "mean": "running_mean", "variance": "running_var", "factor": "factor"}
_BLOBS = {"Bias": ("bias",), "BatchNorm": ("mean", "variance", "factor", "weight", "bias")}
_BLOBS_OF_OTHERS = ("weight", "bias")


class StepReader:
    """Adds steps to a graph.

    Args:
        graph: a graph with its inputs.
        tensors: the tensors of the file by name.
        plain: whether all weights have to be float32, as in a Caffe net, and no function may be called.

    Attributes:
        hints: name of a size that may be any -> its value in the example.
    """

    def __init__(self, graph: Graph, tensors: Mapping[str, Weight], plain: bool) -> None:
        self.graph = graph
        self._tensors, self._plain = tensors, plain
        self._taken: dict[str, Weight] = {}
        self._names: set[str] = set()
        self._entries = 0
        self.hints: Mapping[str, int] = {}

    def value(self, name: str, shape: Shape, has_batch: bool = True) -> int:
        """Adds a value and returns its number.

        Raises:
            FileFormatError: its shape is none, or all values together are too large.
        """
        self._entries += math.prod(shape[1:])
        expect(self._entries <= MOST_ENTRIES, f"{self._entries:,} entries an item", f"at most {MOST_ENTRIES:,}")
        expect(all(0 < size <= LARGEST for size in shape), f"a value of shape {list(shape)}", "sizes of 1 and more")
        return self.graph.add_value(name, shape, has_batch)

    def read(self, found: object) -> None:
        """Adds a step.

        Args:
            found: ``[kind, name, layer, inputs, settings]`` of JSON, of which all but the kind may be missing, or
                ``[function, arguments, shape, named]``, of which shape and named arguments may be missing.

        Raises:
            FileFormatError: it is no step.
        """
        parts = found if isinstance(found, list) else []
        texts = [each for each in parts[:3] if isinstance(each, str)]
        lists = [each for each in parts[len(texts) :] if isinstance(each, list)]
        given = parts[-1] if parts and isinstance(parts[-1], dict) else {}
        whole = [*texts, *lists, *([given] if parts and parts[-1] is given else [])]
        expect(bool(texts) and whole == parts and len(lists) <= 2, f"found {found!r}", "[kind, name, inputs, settings]")
        if "." in texts[0]:
            self._call(texts, lists, given)
            return
        expect(texts[0] in KINDS, f"unknown kind {texts[0]!r}", f"one of {', '.join(KINDS)}")
        expect(len(lists) < 2, f"found {found!r}", "[kind, name, layer, inputs, settings]")
        name = self._name(text_of(texts[1], "name") if len(texts) > 1 else texts[0].lower(), len(texts) > 1)
        try:
            inputs = self._inputs(lists[0] if lists else None)
            self._known_step(texts[0], name, texts[-1] if len(texts) > 1 else "", inputs, given)
        except FileFormatError as error:
            raise error.within(f"{name!r}") from error

    def _name(self, name: str, given: bool) -> str:
        """Returns the name of a step; of one that has none, a word and the number of its value."""
        name = name if given else f"{name}_{len(self.graph.values)}"
        expect(name not in self._names, f"a second step {name!r}", "another name")
        self._names.add(name)
        return name

    def _known_step(self, kind: str, name: str, layer: str, inputs: list[int], given: Mapping[str, object]) -> None:
        known = KINDS[kind]
        explicit = {role: given[role] for role in given if role in _ROLES and role in {*known.weights, "factor"}}
        names = explicit or default_names(kind, layer, self._tensors)
        settings = {setting: value for setting, value in given.items() if setting not in explicit}
        weights = {role: self._weight(role, each) for role, each in names.items()}
        types = {str(weight.dtype) for weight in weights.values()}
        expect(len(types) < 2, f"weights of types {', '.join(sorted(types))}", "one type")
        if "factor" in weights:
            _divide(weights)
        shapes = {role: tuple(weight.shape) for role, weight in weights.items()}
        for role, shape in shapes.items():
            expect(min(shape, default=1) > 0, f"{role} of shape {list(shape)}", "sizes of 1 and more")
        found = known.found(settings, [self.graph.values[number].shape for number in inputs], shapes)
        made = self.value(name, found.shape, not self.graph.without_batch.intersection(inputs))
        self.graph.steps.append(Step(name, kind, inputs, [made], found.settings, weights))

    def _weight(self, role: str, name: object) -> Weight:
        found = self._tensor(role, name)
        dtype = str(found.dtype).removeprefix("torch.")
        expect(dtype in _FLOATS[: 1 if self._plain else None], f"tensor {name!r} of type {dtype}", "float32")
        return found

    def _tensor(self, role: str, name: object) -> Weight:
        name = text_of(name, role)
        expect(name in self._tensors, f"there is no tensor {name!r}", f"the {role} of the step")
        if name not in self._taken:
            self._taken[name] = self._tensors[name]
        return self._taken[name]

    def _inputs(self, numbers: list[object] | None) -> list[int]:
        """Returns the inputs of a step; by default the value that was made last."""
        made = len(self.graph.values)
        if numbers is None:
            return [number_of(made - 1, made)]
        return [number_of(number, made) for number in numbers]

    def _call(self, texts: list[str], lists: list[list[object]], given: Mapping[str, object]) -> None:
        function = texts[0]
        expect(len(texts) == 1 and bool(lists), f"found {texts}", "[function, arguments, shape, named arguments]")
        known = function in ALLOWED and not self._plain
        expect(known, f"the function {function!r}", "one that a file may call")
        kind = function.split(".")[1]
        name = self._name(kind, given=False)
        inputs: list[int] = []
        try:
            args = tuple(self._argument(each, inputs) for each in lists[0])
            kwargs = {text_of(word, "argument"): self._argument(each, inputs) for word, each in given.items()}
            made = self._made(name, lists[1] if len(lists) > 1 else [])
        except FileFormatError as error:
            raise error.within(f"{name!r}") from error
        maker = NamedCall(function, args, kwargs)
        self.graph.steps.append(Step(name, kind, inputs, [made], SimpleNamespace(), {}, maker))

    def _made(self, name: str, sizes: list[object]) -> int:
        """Adds the value of a call, whose first size is a text if it is that of the batch."""
        has_batch = bool(sizes) and isinstance(sizes[0], str)
        if has_batch and str(sizes[0]) in self.hints:
            sizes = [self.hints[str(sizes[0])], *sizes[1:]]
        return self.value(name, shape_from(sizes, "shape"), has_batch or not self.hints)

    def _argument(self, found: object, inputs: list[int], level: int = 0) -> object:
        """Reads an argument: a number, null, a word, ``%3`` for a value, ``&name`` for a tensor, or a list of them."""
        if isinstance(found, list):
            expect(level < _LEVELS, "lists in lists in lists", "fewer")
            return [self._argument(each, inputs, level + 1) for each in found]
        if isinstance(found, str):
            return self._named(found, inputs)
        if isinstance(found, int):
            expect(abs(found) < 1 << 63, f"found {found!r}", "a number of 64 bits")
            return found
        expect(found is None or (isinstance(found, float) and math.isfinite(found)), f"found {found!r}", "an argument")
        return found

    def _named(self, found: str, inputs: list[int]) -> object:
        if found.startswith("&"):
            return self._tensor("argument", found[1:])
        if found in ("inf", "-inf", "nan"):
            return float(found)
        if not found.startswith("%"):
            expect(found in WORDS, f"found {found!r}", f"one of {', '.join(sorted(WORDS))}")
            return Word(found)
        digits = found[1:]
        expect(digits.isascii() and digits.isdigit() and len(digits) < 10, f"found {found!r}", "the number of a value")
        number = number_of(int(digits), len(self.graph.values))
        if number not in inputs:
            inputs.append(number)
        return InputPlace(inputs.index(number))


def text_of(found: object, what: str) -> str:
    """Returns a text of JSON, or raises FileFormatError."""
    if not isinstance(found, str) or any("\ud800" <= each <= "\udfff" for each in found):
        raise FileFormatError(f"{what}: found {found!r}; expected text")
    return found


def object_of(found: object, what: str) -> Mapping[str, object]:
    """Returns an object of JSON, or raises FileFormatError."""
    if not isinstance(found, dict):
        raise FileFormatError(f"{what}: found {found!r}; expected an object")
    return found


def shape_from(found: object, what: str) -> Shape:
    """Returns a shape of JSON, or raises FileFormatError."""
    fits = isinstance(found, list) and len(found) <= MOST_AXES and all(is_whole(size, 1) for size in found)
    expect(fits, f"{what}: found shape {found!r}", f"up to {MOST_AXES} sizes from 1 to {LARGEST:,}")
    assert isinstance(found, list)
    return tuple(found)


def number_of(found: object, made: int) -> int:
    """Returns the number of a value that is made already, or raises FileFormatError."""
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
