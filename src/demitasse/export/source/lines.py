"""Breaks statements into lines of at most 100 characters, as code formatters do."""

from __future__ import annotations

from itertools import pairwise

WIDTH = 100
_OPEN, _CLOSE = "([{", ")]}"


def wrapped(line: str, indent: int) -> list[str]:
    """Returns the lines of a statement, indented, and none too long where it can be broken."""
    if indent + len(line) <= WIDTH:
        return [" " * indent + line]
    target, equals, value = _assignment(line)
    if equals and ", " in target and not line.startswith("self."):
        return [*_listed("(", _parts(target, ","), f") = {value}", indent)]
    begin = _last_bracket(line)
    if begin is None:
        return _operators(target + equals, value, indent)
    end = len(line) - (line[-1] in ":,") - 1
    return _listed(line[: begin + 1], _parts(line[begin + 1 : end], ","), line[end:], indent)


def _assignment(line: str) -> tuple[str, str, str]:
    target, equals, value = line.partition(" = ")
    if equals:
        return target, equals, value
    return ("return", " ", line.removeprefix("return ")) if line.startswith("return ") else ("", "", line)


def _listed(head: str, parts: list[str], tail: str, indent: int) -> list[str]:
    """Returns ``head``, the parts in one line or in a line each, and ``tail``."""
    inside = ", ".join(parts)
    if indent + 4 + len(inside) <= WIDTH:
        body = [" " * (indent + 4) + inside]
    else:
        body = [line for part in parts for line in wrapped(f"{part},", indent + 4)]
    return [" " * indent + head, *body, *wrapped(tail, indent)]


def _operators(head: str, value: str, indent: int) -> list[str]:
    parts = _parts(value, "+-") if len(_parts(value, "+-")) > 1 else _parts(value, "*")
    if len(parts) == 1 and not head.startswith("return"):
        return [" " * indent + head + value]
    if len(parts) > 1 and indent + 4 + len(value) <= WIDTH:
        parts = [value]
    elif len(parts) == 1:
        parts = [f"{part}," for part in _parts(value, ",")]
    return [" " * indent + f"{head}(", *(" " * (indent + 4) + part for part in parts), " " * indent + ")"]


def _parts(text: str, separators: str) -> list[str]:
    """Splits at separators outside brackets; operators stay at the start of the next part, commas are removed."""
    depth, cuts = 0, [0]
    for place, letter in enumerate(text):
        depth += (letter in _OPEN) - (letter in _CLOSE)
        if depth == 0 and letter in separators and text[place + 1 : place + 2] == " ":
            cuts.append(place)
    parts = [text[start:end].strip() for start, end in pairwise([*cuts, len(text)])]
    return [part.lstrip(", ") if "," in separators else part for part in parts if part.strip(", ")]


def _last_bracket(line: str) -> int | None:
    """Returns the index of the bracket whose partner ends the line; None where no bracket ends it."""
    text = line.rstrip(":,")
    if not text.endswith(tuple(_CLOSE)):
        return None
    depth = 0
    for place in range(len(text) - 1, -1, -1):
        depth += (text[place] in _CLOSE) - (text[place] in _OPEN)
        if depth == 0:
            return place
    return None
