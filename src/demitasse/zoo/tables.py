"""Turns TOML tables into frozen dataclasses; errors name the place of keys that are unknown, missing or mistyped."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from demitasse.errors import UsageError
from demitasse.registry import suggest

T = TypeVar("T")

_WORDS: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    type(None): "nothing",
}


def read_table(kind: type[T], table: Mapping[str, object], place: str) -> T:
    """Returns a dataclass whose fields are the keys of a table.

    Args:
        kind: a dataclass with fields of type bool, int, float, str, tuples and dicts of these, and unions.
        table: the table from tomllib.
        place: file and table, for messages.

    Raises:
        UsageError: a key is unknown or missing, or its value has the wrong type.
    """
    known = {field.name: field for field in fields(kind) if field.init}  # type: ignore[arg-type]
    check_keys(table, known, place)
    for field in known.values():
        if field.name not in table and _is_needed(field):
            raise UsageError(f"{place}: {field.name} is missing")
    hints = get_type_hints(kind)
    return kind(**{key: convert(value, hints[key], f"{place}: {key}") for key, value in table.items()})


def _is_needed(field: Field[object]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def check_keys(table: Mapping[str, object], known: Collection[str], place: str) -> None:
    """Checks that all keys are known.

    Raises:
        UsageError: a key is unknown; names the most similar known key.
    """
    for key in table:
        if key not in known:
            raise UsageError(f"{place}: unknown key {key!r}; {suggest(key, list(known))}")


def is_plain(kind: object) -> bool:
    """Returns whether :func:`convert` knows a type: a TOML type, or a tuple, a dict or a union of such types."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (tuple, dict, Union, types.UnionType):
        return all(each is ... or is_plain(each) for each in inner)
    return kind in _WORDS if isinstance(kind, type) else False


def convert(value: object, kind: object, place: str) -> Any:
    """Converts a TOML value to a type: lists to tuples, and whole numbers to floats where the type is float.

    Raises:
        UsageError: the value has another type.
    """
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    for option in options:
        found, result = _as(value, option, place)
        if found:
            return result
    raise UsageError(f"{place} is {value!r}; expected {' or '.join(_in_words(o) for o in options if o is not _NONE)}")


_NONE = type(None)


def _as(value: object, kind: object, place: str) -> tuple[bool, object]:
    """Returns whether the value has this type, and the converted value."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple:
        if not isinstance(value, list):
            return False, None
        return True, tuple(convert(item, inner[0], f"{place}[{number}]") for number, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            return False, None
        return True, {key: convert(item, inner[1], f"{place}.{key}") for key, item in value.items()}
    if kind is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number, float(value) if is_number else None  # type: ignore[arg-type]
    # a bool is an int in Python, not in TOML
    return type(value) is kind, value


def _in_words(kind: object) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple:
        return f"a list, each {_in_words(inner[0])}"
    if origin is dict:
        return f"a table, each value {_in_words(inner[1])}"
    return _WORDS[kind]
