"""Reorders hidden units, which does not change a net but makes its file smaller, and removes units without effect.

A hidden unit is a row of the layers that compute it and some columns of the layers that use it. Moving these rows and
columns together gives the same net; a unit that is always zero, or that no layer uses, can be removed.

:func:`reorder` tries a few orders for each link: the present one, by the number of weights, and each unit next to the
most similar one. It then moves single units at random. It keeps an order if the coder of weights needs fewer bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from demitasse.arrays import Array
from demitasse.packed.codecs.base import Context
from demitasse.packed.codecs.weights import Weights
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import Tensor, matrix
from demitasse.packed.units import Link, arranged, count_units, present, remove_dead_units

# number of weights that a search may code: a million take about a second
BUDGET = 8_000_000
# every trial takes at least as long as coding this number of weights
_TRIAL = 4_000


class ReorderedTensors(NamedTuple):
    """The result of :func:`reorder`.

    Attributes:
        tensors: the tensors, in the order in which they were given.
        orders: for each link, the old numbers of the units in their new order.
    """

    tensors: list[Tensor]
    orders: list[Array]


def reorder(
    tensors: Sequence[Tensor],
    links: Sequence[Link],
    search: bool = True,
    remove_dead: bool = False,
    budget: int = BUDGET,
) -> ReorderedTensors:
    """Returns tensors of the same net that need fewer bytes in a file; the result is deterministic.

    Args:
        tensors: the tensors in the order in which they will be packed.
        links: the hidden units that may move, from the first layer to the last.
        search: whether units may change places.
        remove_dead: whether to remove units without effect, which changes shapes. A layer keeps at least one unit.
        budget: number of weights that the search may code, counted at every trial. Units keep their order if their
            tensors exceed the budget or do not suit the coder of weights.

    Raises:
        UsageError: a tensor of a link is missing, or its shape does not fit; names the tensor.
    """
    held = {tensor.name: tensor for tensor in tensors}
    orders = [np.arange(count_units(held, link)) for link in links]
    if remove_dead:
        remove_dead_units(held, links, orders)
    if search and links:
        _Search(held, links, orders, budget).run()
    return ReorderedTensors(list(held.values()), orders)


class _Search:
    """Reorders tensors and orders in place.

    Args:
        tensors: name -> tensor, in the order of the file.
        links: the hidden units.
        orders: the order of the units of each link.
        budget: number of weights that may be coded.
    """

    def __init__(self, tensors: dict[str, Tensor], links: Sequence[Link], orders: list[Array], budget: int) -> None:
        self._tensors, self._links, self._orders, self._left = tensors, links, orders, budget
        self._codec = Weights()
        matrices = [name for name, tensor in tensors.items() if matrix(tensor.shape)[1] > 1]
        self._before = dict(zip(matrices[1:], matrices, strict=False))
        self._settings: dict[str, bytes] = {}
        self._bits: dict[str, float] = {}
        self._random = np.random.default_rng(0)

    def run(self) -> None:
        """Tries orders of all units, then moves single units until the budget is spent."""
        ready = [i for i in range(len(self._links)) if self._prepare(i)]
        for i in ready:
            for order in list(self._candidates(i)):
                self._try(i, order)
        units = [self._in_use(i) for i in ready]
        sizes = np.array([len(found) for found in units])
        shares = np.where(sizes > 1, sizes, 0)
        while shares.any():
            chosen = int(self._random.choice(len(ready), p=shares / shares.sum()))
            if not self._afford(ready[chosen]):
                return
            self._try(ready[chosen], self._moved(ready[chosen]))

    def _measured(self, i: int) -> list[str]:
        """Returns the matrices whose coded size depends on the order of a link."""
        link = self._links[i]
        behind = [name for name, before in self._before.items() if before in link.units]
        return [name for name in dict.fromkeys((*link.units, *link.next, *behind)) if name in self._settings]

    def _afford(self, i: int) -> bool:
        """Subtracts a trial from the budget; returns whether enough was left."""
        self._left -= _TRIAL + sum(self._tensors[name].size for name in self._measured(i))
        return self._left >= 0

    def _prepare(self, i: int) -> bool:
        """Finds the settings that code the matrices of a link; returns whether its units can be moved and measured."""
        link = self._links[i]
        for name in (*link.units, *link.next):
            tensor = self._tensors[name]
            if matrix(tensor.shape)[1] < 2 or name in self._settings:
                continue
            context = self._context(self._tensors, name)
            choices = list(self._codec.settings(tensor, context))
            self._left -= tensor.size * len(choices)
            if not choices or self._left < 0:
                return False
            found = {settings: self._size(tensor, settings, context) for settings in choices}
            self._settings[name] = min(found, key=lambda settings: (found[settings], settings))
            self._bits[name] = found[self._settings[name]]
        return self._left >= 0

    def _context(self, tensors: Mapping[str, Tensor], name: str) -> Context:
        if name not in self._before:
            return Context()
        before = tensors[self._before[name]]
        return Context(present(before, before.shape[0]).sum(1, dtype=np.int64))

    def _size(self, tensor: Tensor, settings: bytes, context: Context) -> float:
        stream = Stream()
        self._codec.encode(tensor, settings, stream, context)
        return stream.bits

    def _try(self, i: int, order: Array) -> None:
        """Keeps an order if it needs fewer bits."""
        changed = arranged(self._tensors, self._links[i], order)
        tensors = {**self._tensors, **changed}
        bits = {
            name: self._size(
                tensors[name],
                self._codec.moved(tensors[name], self._settings[name]),
                self._context(tensors, name),
            )
            for name in self._measured(i)
        }
        if sum(bits.values()) < sum(self._bits[name] for name in bits):
            self._tensors.update(changed)
            self._bits.update(bits)
            self._orders[i] = self._orders[i][order]

    def _supports(self, i: int) -> tuple[Array, Array]:
        """Returns which weights of each unit are nonzero: those that compute it, and those that use it."""
        link, count = self._links[i], len(self._orders[i])
        return present(self._tensors[link.units[0]], count), np.concatenate(
            [present(self._tensors[name], count, columns=True) for name in link.next], axis=1
        )

    def _candidates(self, i: int) -> Iterator[Array]:
        """Yields orders to try; all of them put units without weights last."""
        into, out = self._supports(i)
        counts = into.sum(1)
        empty = counts == 0
        for sign in (1, -1):
            if self._afford(i):
                yield np.lexsort((sign * counts, empty))
        if self._afford(i):
            yield _neighbours(np.concatenate([into, out], axis=1), np.lexsort((counts, empty)), empty)

    def _in_use(self, i: int) -> Array:
        """Returns the positions of units with weights."""
        return np.flatnonzero(self._supports(i)[0].any(1))

    def _moved(self, i: int) -> Array:
        """Returns the present order with one unit moved, or two units swapped."""
        one, other = self._random.choice(self._in_use(i), 2, replace=False)
        order = list(range(len(self._orders[i])))
        if self._random.random() < 0.5:
            order[one], order[other] = order[other], order[one]
        else:
            order.insert(other, order.pop(one))
        return np.array(order)


def _neighbours(supports: Array, order: Array, empty: Array) -> Array:
    """Returns an order in which each unit differs as little as possible from the previous one.

    Args:
        supports: (units, weights) bool, which weights are nonzero.
        order: (units,) int; it gives the first unit, and decides between units that differ equally.
        empty: (units,) bool, the units that come last, in the order of ``order``.
    """
    chain = [unit for unit in order if not empty[unit]][:1]
    left = [unit for unit in order if not empty[unit]][1:]
    while left:
        nearest = int(np.argmin((supports[left] != supports[chain[-1]]).sum(1)))
        chain.append(left.pop(nearest))
    return np.array([*chain, *(unit for unit in order if empty[unit])])
