"""The one Registry: maps names to classes or functions, refuses duplicates, helps on a miss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from demitasse.errors import UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """Named entries of one kind.

    Args:
        kind: what the entries are, in words for messages, such as ``"layer type"``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, *names: str) -> Callable[[T], T]:
        """Returns a decorator that enters a class or function under the names.

        Raises:
            ValueError: a name is taken.
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
    """Returns ``did you mean 'X'?``, or the list of what is known where nothing is near."""
    names = list(known)
    if near := nearest(name, names):
        return f"did you mean {near!r}?"
    return f"known: {', '.join(sorted(names))}" if names else "there is none"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that ``name`` is most likely a slip of, whatever its case; None if there is none.

    A slip changes at most a quarter of the letters (one of three or four), or leaves out up to three tenths of them.
    A suffix in common (``_param``, ``_filler``) does not make two names alike.
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
    """Returns how many letters must be changed, inserted, left out, or swapped with their neighbour.

    Reference: Damerau 1964, in the form that changes no letter twice.
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
