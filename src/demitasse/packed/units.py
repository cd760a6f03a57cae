"""Hidden units: the rows and columns of a net's tensors that belong to each, and how to move or remove them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import UsageError
from demitasse.packed.tensor import Tensor


class Link(NamedTuple):
    """Hidden units between layers, and the tensors that depend on their order.

    Attributes:
        units: names of the tensors with a row (first axis) for each unit: weight, bias, ...; the weight first.
        next: names of the tensors with the same number of columns (second axis) for each unit, in the units' order.
        silent: names of the tensors whose rows must all be zero for a unit to be always zero; empty if no rows make
            it so.
    """

    units: tuple[str, ...]
    next: tuple[str, ...]
    silent: tuple[str, ...] = ()


@dataclass(eq=False)
class Hidden:
    """What a walk through a net has found about some units so far.

    Attributes:
        count: number of units.
        units: see :class:`Link`.
        next: see :class:`Link`.
        silent: see :class:`Link`; one for each use of the units.
        fixed: whether something depends on the order of the units, such as the output of the net.
    """

    count: int
    units: list[str]
    next: list[str] = field(default_factory=list)
    silent: set[tuple[str, ...]] = field(default_factory=set)
    fixed: bool = False

    def link(self) -> Link | None:
        """Returns the link; None if the units cannot move, or nothing uses them."""
        if self.fixed or not self.next:
            return None
        # uses of the units through different layers have no common condition
        silent = next(iter(self.silent)) if len(self.silent) == 1 else ()
        return Link(tuple(self.units), tuple(self.next), silent)


def count_units(tensors: Mapping[str, Tensor], link: Link) -> int:
    """Returns the number of units of a link.

    Raises:
        UsageError: a tensor is missing, or its shape does not fit; names the tensor.
    """
    for name in (*link.units, *link.next, *link.silent):
        if name not in tensors:
            raise UsageError(f"there is no tensor {name!r} to reorder; found {', '.join(tensors) or 'none'}")
    if not link.units or not link.next:
        raise UsageError(f"hidden units need a tensor with their rows and one with their columns; found {link}")
    count = (tensors[link.units[0]].shape or (0,))[0]
    for name in link.units:
        if (tensors[name].shape or (0,))[0] != count or not count:
            raise UsageError(f"{name} has shape {tensors[name].shape}; expected {count} rows, like {link.units[0]}")
    for name in link.next:
        if len(tensors[name].shape) < 2 or tensors[name].shape[1] % count:
            raise UsageError(
                f"{name} has shape {tensors[name].shape}; expected a multiple of {count} columns, for the units of "
                f"{link.units[0]}"
            )
    return count


def arranged(tensors: Mapping[str, Tensor], link: Link, order: Array) -> dict[str, Tensor]:
    """Returns the tensors that change when the units with these numbers are put in this order."""
    count = tensors[link.units[0]].shape[0]
    found = {}
    for name in link.units:
        tensor = tensors[name]
        bits = tensor.bits.reshape(count, -1)[order].reshape(-1)
        found[name] = tensor._replace(shape=(len(order), *tensor.shape[1:]), bits=bits)
    for name in link.next:
        tensor = tensors[name]
        rows, columns, *kernel = tensor.shape
        bits = tensor.bits.reshape(rows, count, -1)[:, order].reshape(-1)
        found[name] = tensor._replace(shape=(rows, columns // count * len(order), *kernel), bits=bits)
    return found


def present(tensor: Tensor, count: int, columns: bool = False) -> Array:
    """Returns which values are nonzero: (units, values) bool."""
    bits = tensor.bits & ~tensor.dtype.sign if tensor.dtype.floating else tensor.bits
    kept: Array = bits != 0
    if columns:
        kept = kept.reshape(tensor.shape[0], count, -1).swapaxes(0, 1)
    return kept.reshape(count, -1)


def remove_dead_units(tensors: dict[str, Tensor], links: Sequence[Link], orders: list[Array]) -> None:
    """Removes units without effect until there are none: a removed unit may have been the last use of another."""
    changed = True
    while changed:
        changed = False
        for i, link in enumerate(links):
            count = len(orders[i])
            live = _any(present(tensors[name], count, columns=True) for name in link.next)
            if link.silent:
                live &= _any(present(tensors[name], count) for name in link.silent)
            live[0] |= not live.any()
            if not live.all():
                tensors.update(arranged(tensors, link, np.flatnonzero(live)))
                orders[i] = orders[i][live]
                changed = True


def _any(present: Iterable[Array]) -> Array:
    found: Array = np.any([rows.any(1) for rows in present], axis=0)
    return found
