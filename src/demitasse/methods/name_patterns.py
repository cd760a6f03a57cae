"""Summarizes many parameter names as a few readable patterns."""

from __future__ import annotations

from collections.abc import Sequence

Parts = tuple[tuple[str, ...], ...]

_FEW = 3  # list up to this number of numbers; more become a star
_MANY = 8  # list up to this number of other parts; of more, the first and the last


def collapse(names: Sequence[str]) -> list[str]:
    """Returns patterns that stand for these names, each with the number of names.

    Names that differ in one part between dots are merged: ``h.0.ln.weight``, ``h.0.ln.bias``, ``h.1.ln.weight``, ...
    become ``h.*.ln.{weight,bias} (24)``.

    Args:
        names: the names, each once.
    """
    found: dict[Parts, None] = {tuple((part,) for part in name.split(".")): None for name in names}
    for place in range(max((len(parts) for parts in found), default=0)):
        found = _merged(found, place, numbers=True)
    for place in reversed(range(max((len(parts) for parts in found), default=0))):
        found = _merged(found, place, numbers=False)
    return [_text(parts) for parts in found]


def _merged(found: dict[Parts, None], place: int, numbers: bool) -> dict[Parts, None]:
    """Merges names that differ only at one place."""
    groups: dict[tuple[Parts, Parts | None], list[str]] = {}
    for parts in found:
        if place < len(parts) and (not numbers or parts[place][0].isdecimal()):
            groups.setdefault((parts[:place], parts[place + 1 :]), []).extend(parts[place])
        else:
            groups[parts, None] = []
    return {before if after is None else (*before, tuple(own), *after): None for (before, after), own in groups.items()}


def _text(parts: Parts) -> str:
    count = 1
    for own in parts:
        count *= len(own)
    return ".".join(map(_part, parts)) + (f" ({count})" if count > 1 else "")


def _part(own: tuple[str, ...]) -> str:
    if len(own) > _FEW and all(one.isdecimal() for one in own):
        return "*"
    shown = own if len(own) <= _MANY else (*own[:_FEW], "...", own[-1])
    return own[0] if len(own) == 1 else f"{{{','.join(shown)}}}"
