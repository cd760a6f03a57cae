"""The Registry: maps names to classes or functions, refuses duplicates, and suggests similar names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from demitasse.errors import UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """Named entries of one kind.

    Args:
        kind: the kind of the entries, for messages, such as ``"layer type"``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, *names: str) -> Callable[[T], T]:
        """Returns a decorator that registers a class or function under these names.

        Raises:
            ValueError: a name is already registered.
        """

        def enter(entry: T) -> T:
            for name in names:
                if name in self._entries:
                    raise ValueError(f"{self.kind} {name!r} is registered twice")
                self._entries[name] = entry
            return entry

        return enter

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise UnknownNameError(f"unknown {self.kind} {name!r}; {suggest(name, self._entries)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)


def suggest(name: str, known: Iterable[str]) -> str:
    """Returns ``did you mean 'X'?``, or the list of known names if none is similar."""
    names = list(dict.fromkeys(known))
    if near := nearest(name, names):
        return f"did you mean {near!r}?"
    return f"known: {', '.join(sorted(names))}" if names else "there is none"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that ``name`` is most likely a misspelling of, ignoring case; None if there is none.

    A misspelling changes at most a quarter of the letters (one of three or four), or omits up to three tenths of them.
    A common suffix (``_param``, ``_filler``) does not make two names similar.
    """
    found: tuple[int, str] | None = None
    for candidate in known:
        left, right = _without_common_suffix(name.lower(), candidate.lower())
        distance = _distance(left, right)
        if (distance <= _tolerance(left) or _abbreviates(left, right)) and (found is None or distance < found[0]):
            found = distance, candidate
    return found and found[1]


def _without_common_suffix(left: str, right: str) -> tuple[str, str]:
    stem, underscore, suffix = left.rpartition("_")
    if stem and underscore and right.endswith(f"_{suffix}"):
        return stem, right.removesuffix(f"_{suffix}")
    return left, right


def _tolerance(name: str) -> int:
    return max(len(name) // 4, int(len(name) > 2))


def _abbreviates(left: str, right: str) -> bool:
    letters = iter(right)
    return len(left) >= max(4, 0.7 * len(right)) and all(letter in letters for letter in left)


def _distance(left: str, right: str) -> int:
    """Returns the number of letters to change, insert, delete, or swap with their neighbour.

    Reference: Damerau 1964, in the variant that changes no letter twice.
    """
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, letter in enumerate(left, start=1):
        before, above, row = row, before, [i]
        for j, other in enumerate(right, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == right[j - 2] and left[i - 2] == other:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return row[-1]
