"""Checks of settings; each error names the setting, what was found and what was expected."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import TypeVar

from torch import nn

from demitasse.errors import MethodError

T = TypeVar("T")
_LONGEST = 60


def number(name: str, value: object, least: float = -math.inf, below: float = math.inf) -> float:
    """Returns a value that is a finite number.

    Args:
        name: of the setting.
        value: its value.
        least: the smallest allowed number.
        below: the number must be smaller than this.

    Raises:
        MethodError: the value is not a number (True is not), not finite, or out of range.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    found = float(value) if is_number else math.nan  # type: ignore[arg-type]
    if is_number and math.isinf(found):
        raise _refused(name, value, "a finite number", least, below)
    if not (math.isfinite(found) and least <= found < below):
        is_kind_said = not is_number or (least, below) == (-math.inf, math.inf)
        raise _refused(name, value, "a number" if is_kind_said else "", least, below)
    return found


def whole(name: str, value: object, least: float = -math.inf) -> int:
    """Returns a value that is a whole number of 64 bits.

    Args:
        name: of the setting.
        value: its value.
        least: the smallest allowed number.

    Raises:
        MethodError: the value is not a whole number (1.0 and True are not), or is below ``least``.
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        # 4.0 would be shown as 4
        kind = "a whole number without a point" if isinstance(value, float) and value.is_integer() else "a whole number"
        raise _refused(name, value, kind, least)
    if not (least <= int(value) < 1 << 63 and int(value) >= -1 << 63):
        raise _refused(name, value, "", least, 1 << 63)
    return int(value)


def steps(name: str, value: object, least: int = 0) -> int:
    """Returns a number of steps; 1e3 is accepted, too.

    Args:
        name: of the setting.
        value: its value.
        least: the smallest allowed number.

    Raises:
        MethodError: the value is not a whole number, or is below ``least``.
    """
    try:
        return whole(name, int(value) if isinstance(value, float) and value.is_integer() else value, least)
    except MethodError:
        raise _refused(name, value, "a number of steps", least) from None


def share(name: str, value: object) -> float:
    """Returns a value that is a share, from 0 to 1.

    Raises:
        MethodError: the value is not a number from 0 to 1.
    """
    found = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not 0 <= found <= 1:
        raise MethodError(f"{name} is {shown(value)}; expected a share from 0 to 1")
    return found


def each(name: str, value: object, check: Callable[[str, object], float]) -> None:
    """Checks a number, or every number in a mapping of patterns to numbers.

    Raises:
        MethodError: ``check`` refuses a number, or the mapping is empty.
    """
    if not isinstance(value, Mapping):
        check(name, value)
        return
    if not value:
        raise MethodError(f"{name} is empty; expected a number, or a mapping of patterns to numbers")
    for pattern, one in value.items():
        try:
            check(name, one)
        except MethodError as error:
            place = pattern.__name__ if isinstance(pattern, type) else repr(pattern)
            raise MethodError(f"{error}, for {place}") from error


def listed(name: str, value: Iterable[T], expected: str) -> list[T]:
    """Returns the items of an iterable as a list.

    Raises:
        MethodError: the value is a string, a mapping, a module, or not iterable.
    """
    if isinstance(value, str | bytes | Mapping | nn.Module) or not isinstance(value, Iterable):
        raise MethodError(f"{name} is {shown(value)}; expected a list of {expected}")
    try:
        return list(value)
    except TypeError:  # a tensor or an array of 0 dimensions
        raise MethodError(f"{name} is {shown(value)}; expected a list of {expected}") from None


def one_of(name: str, value: object, known: Collection[str]) -> None:
    """Checks that a value is one of the known words.

    Raises:
        MethodError: it is not; lists the known words.
    """
    if not isinstance(value, str) or value not in known:
        raise MethodError(f"{name} is {shown(value)}; expected {' or '.join(map(repr, known))}")


def flag(name: str, value: object) -> None:
    """Checks that a value is True or False.

    Raises:
        MethodError: it is not.
    """
    if not isinstance(value, bool):
        raise MethodError(f"{name} is {shown(value)}; expected True or False")


def module(name: str, value: object) -> None:
    """Checks that a value is a module.

    Raises:
        MethodError: it is not; names its type.
    """
    if not isinstance(value, nn.Module):
        raise MethodError(f"{name} is {shown(value)}; expected a torch.nn.Module")


def function(name: str, value: object) -> None:
    """Checks that a value can be called.

    Raises:
        MethodError: it cannot.
    """
    if not callable(value):
        raise MethodError(f"{name} is {shown(value)}; expected a function")


def shown(value: object) -> str:
    """Returns a value as messages show it: plain values by their repr, others by their type."""
    if isinstance(value, float):
        return f"{value:g}"
    plain = isinstance(value, Real | str | bytes | tuple | list | dict) or value is None
    text = repr(value) if plain else f"a {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _refused(name: str, value: object, kind: str, least: float = -math.inf, below: float = math.inf) -> MethodError:
    """Returns the error; it names the expected kind, unless ``kind`` is empty, and the range."""
    words = [kind] if kind else []
    words += [f"{least:g} or more"] if least > -math.inf else []
    words += [f"below {below:g}"] if below < math.inf else []
    return MethodError(f"{name} is {shown(value)}; expected {', '.join(words)}")
