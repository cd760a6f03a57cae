"""Following hidden units through a net, whatever the net is written in: what a value carries, and what changes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from demitasse.packed.units import Hidden, Link


class Flow(NamedTuple):
    """What a value carries.

    Attributes:
        hidden: the units.
        silent: names of the tensors that would have to be zero to silence a unit; empty if nothing does.
        axis: the axis of the value on which the units lie.
    """

    hidden: Hidden
    silent: tuple[str, ...]
    axis: int = 1

    def end(self, columns: Iterable[str]) -> None:
        """Ends the units in a layer that uses them: ``columns`` are the names of its tensors with a column for each."""
        self.hidden.next += columns
        self.hidden.silent.add(self.silent)

    def take_along(self, rows: Iterable[str], silent: Sequence[str] | None = None) -> Flow:
        """Returns what the value carries after a layer with a value for each unit.

        Args:
            rows: the names of its tensors with a row for each unit.
            silent: which tensors silence a unit from now on if they are zero; None for those that did so before.
        """
        self.hidden.units += rows
        return self if silent is None else self._replace(silent=tuple(silent))


def not_silent(flow: Flow | None) -> Flow | None:
    """Returns what a value carries after a function that makes something else of 0."""
    return flow and flow._replace(silent=())


def fix(*flows: Flow | None) -> Flow | None:
    """Makes units keep their order, because something depends on it; returns None: they are followed no further."""
    for flow in flows:
        if flow:
            flow.hidden.fixed = True
    return None


def links(found: Iterable[Hidden]) -> list[Link]:
    """Returns those of the hidden units that may move."""
    return [link for link in (hidden.link() for hidden in found) if link]
