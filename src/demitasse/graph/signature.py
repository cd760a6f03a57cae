"""What a module takes and returns, as plain data: its arguments with types and sizes, and the form of its results.

A *structure* is a number, or a tuple, list or dict of structures; as JSON has it, tuples and dicts are objects, and
numbers are numbers of inputs or of values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from demitasse.errors import FileFormatError
from demitasse.graph.allowed import WORDS
from demitasse.graph.graph import Shape
from demitasse.graph.settings import LARGEST, MOST_AXES, expect, is_whole

Structure = object
# a structure is at most this deep
_DEEPEST = 32
_SIZE = re.compile(r"(?:(\d{1,9})\*)?([a-z]\w{0,30})([+-]\d{1,9})?")


class OpenSize(NamedTuple):
    """A size that may be any: factor * symbol + offset.

    Attributes:
        symbol: its name; sizes of the same name are equal.
        factor: see above.
        offset: see above.
    """

    symbol: str
    factor: int = 1
    offset: int = 0

    def __str__(self) -> str:
        return f"{f'{self.factor}*' * (self.factor != 1)}{self.symbol}{f'{self.offset:+}' * bool(self.offset)}"


class Symbol(NamedTuple):
    """What a symbol may be.

    Attributes:
        hint: its value in the example.
        least: the smallest value; 0 and 1 are always allowed.
        most: the greatest value; None for any.
    """

    hint: int = 2
    least: int = 2
    most: int | None = None


class TensorInput(NamedTuple):
    """A tensor that a module takes.

    Attributes:
        name: of the argument.
        dtype: name of the type of its values, such as ``float32``.
        sizes: its shape.
    """

    name: str
    dtype: str
    sizes: tuple[int | OpenSize, ...]


class ConstantInput(NamedTuple):
    """An argument that has to be what it was in the example.

    Attributes:
        name: of the argument.
        value: what it has to be.
    """

    name: str
    value: object


class Signature(NamedTuple):
    """What a module takes and returns.

    Attributes:
        inputs: the leaves of the arguments, in order.
        symbols: name of a symbol -> what it may be.
        positional: structure of each argument.
        named: name -> structure of an argument.
        results: structure of the results; its numbers are those of the graph's values.
    """

    inputs: tuple[TensorInput | ConstantInput, ...]
    symbols: Mapping[str, Symbol]
    positional: tuple[Structure, ...]
    named: Mapping[str, Structure]
    results: Structure


def read_signature(found: Mapping[str, object]) -> Signature:
    """Returns the signature of a stored module; its results are not checked against the values.

    Args:
        found: the text of a graph, parsed.

    Raises:
        FileFormatError: it is none.
    """
    symbols = {name: _symbol(name, each) for name, each in _object(found.get("sizes", {}), "sizes").items()}
    given = _object(found.get("inputs"), "inputs")
    inputs = tuple(_input(name, each) for name, each in given.items())
    for each in inputs:
        for size in each.sizes if isinstance(each, TensorInput) else ():
            if isinstance(size, OpenSize):
                symbols.setdefault(size.symbol, Symbol())
    both = found.get("arguments", [list(range(len(inputs))), {}])
    if not isinstance(both, list) or len(both) != 2 or not isinstance(both[0], list):
        raise FileFormatError(f"arguments: found {both!r}; expected a list and an object")
    positional = tuple(decoded(each, "arguments") for each in both[0])
    named = {name: decoded(each, "arguments") for name, each in _object(both[1], "arguments").items()}
    order = [*leaves(positional), *leaves(named)]
    expect(order == list(range(len(inputs))), f"arguments: found the inputs {order}", f"{len(inputs)} in order")
    return Signature(inputs, symbols, positional, named, decoded(found["results"], "results"))


def shape_of(given: TensorInput | ConstantInput, symbols: Mapping[str, Symbol]) -> Shape:
    """Returns the shape of an input in the example; () of what is no tensor.

    Raises:
        FileFormatError: a size is not positive.
    """
    shape = []
    for size in given.sizes if isinstance(given, TensorInput) else ():
        shape.append(size if isinstance(size, int) else size.factor * symbols[size.symbol].hint + size.offset)
        expect(0 < shape[-1] <= LARGEST, f"input {given.name!r}: found size {shape[-1]}", f"1 to {LARGEST:,}")
    return tuple(shape)


def _input(name: str, found: object) -> TensorInput | ConstantInput:
    """Reads sizes, ``{type: sizes}``, or a constant."""
    dtype = "float32"
    if isinstance(found, dict):
        expect(len(found) == 1, f"input {name!r}: found {found!r}", "one type and its sizes")
        ((dtype, found),) = found.items()
        expect(f"torch.{dtype}" in WORDS, f"input {name!r}: found type {dtype!r}", "float32, int64 or another type")
        expect(isinstance(found, list), f"input {name!r}: found {found!r}", "sizes")
    if not isinstance(found, list):
        return ConstantInput(name, found)
    expect(len(found) <= MOST_AXES, f"input {name!r}: found {len(found)} sizes", f"at most {MOST_AXES}")
    return TensorInput(name, dtype, tuple(_size(name, each) for each in found))


def _size(name: str, found: object) -> int | OpenSize:
    if isinstance(found, int) and is_whole(found, 1):
        return found
    parts = _SIZE.fullmatch(found) if isinstance(found, str) else None
    if parts is None:
        raise FileFormatError(f"input {name!r}: found size {found!r}; expected 1 to {LARGEST:,}, or a name such as 'n'")
    return OpenSize(parts[2], int(parts[1] or 1), int(parts[3] or 0))


def _symbol(name: str, found: object) -> Symbol:
    fits = isinstance(found, list) and 1 <= len(found) <= 3 and all(is_whole(each) for each in found)
    expect(fits, f"sizes: found {found!r} for {name!r}", "up to three whole numbers: of the example, least and most")
    assert isinstance(found, list)
    return Symbol(*found)


def _object(found: object, what: str) -> Mapping[str, object]:
    if not isinstance(found, dict):
        raise FileFormatError(f"{what}: found {found!r}; expected an object")
    return found


def decoded(found: object, what: str, depth: int = 0) -> Structure:
    """Returns the structure that JSON gives.

    Raises:
        FileFormatError: it is none.
    """
    expect(depth < _DEEPEST, f"{what}: found a structure of more than {_DEEPEST} levels", "fewer")
    if isinstance(found, list):
        return [decoded(each, what, depth + 1) for each in found]
    if isinstance(found, dict) and len(found) == 1:
        ((kind, parts),) = found.items()
        if kind == "tuple" and isinstance(parts, list):
            return tuple(decoded(each, what, depth + 1) for each in parts)
        if kind == "dict" and isinstance(parts, dict):
            return {name: decoded(each, what, depth + 1) for name, each in parts.items()}
    expect(is_whole(found), f"{what}: found {found!r}", "a number, a list, a tuple or a dict")
    return found


def encoded(structure: Structure) -> object:
    """Returns a structure as JSON has it."""
    if isinstance(structure, tuple):
        return {"tuple": [encoded(each) for each in structure]}
    if isinstance(structure, dict):
        return {"dict": {name: encoded(each) for name, each in structure.items()}}
    return [encoded(each) for each in structure] if isinstance(structure, list) else structure


def leaves(structure: Structure) -> Iterator[object]:
    """Yields the numbers of a structure in order."""
    if isinstance(structure, tuple | list):
        for each in structure:
            yield from leaves(each)
    elif isinstance(structure, Mapping):
        yield from leaves(list(structure.values()))
    else:
        yield structure


def filled(structure: Structure, values: Mapping[object, object]) -> object:
    """Returns a structure with values in the place of its numbers."""
    if isinstance(structure, tuple):
        return tuple(filled(each, values) for each in structure)
    if isinstance(structure, list):
        return [filled(each, values) for each in structure]
    if isinstance(structure, dict):
        return {name: filled(each, values) for name, each in structure.items()}
    return values[structure]


def written_signature(signature: Signature) -> dict[str, object]:
    """Returns a signature as JSON has it, without what :func:`read_signature` finds by itself; ``results`` last."""
    found: dict[str, object] = {"inputs": {each.name: _written_input(each) for each in signature.inputs}}
    sizes = {name: _written_symbol(each) for name, each in signature.symbols.items() if each != Symbol()}
    if sizes:
        found["sizes"] = sizes
    count = len(signature.inputs)
    if signature.positional != tuple(range(count)) or signature.named:
        named = {name: encoded(each) for name, each in signature.named.items()}
        found["arguments"] = [[encoded(each) for each in signature.positional], named]
    return found


def _written_input(given: TensorInput | ConstantInput) -> object:
    if isinstance(given, ConstantInput):
        return given.value
    sizes = [size if isinstance(size, int) else str(size) for size in given.sizes]
    return sizes if given.dtype == "float32" else {given.dtype: sizes}


def _written_symbol(symbol: Symbol) -> list[int]:
    if symbol.most is not None:
        return [symbol.hint, symbol.least, symbol.most]
    return [symbol.hint, symbol.least] if symbol.least != Symbol().least else [symbol.hint]
