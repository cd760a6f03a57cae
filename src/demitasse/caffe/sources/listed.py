"""The order in which sources read the entries of a list of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
from typing_extensions import override

from demitasse.caffe.sources.base import State
from demitasse.caffe.sources.order import Order
from demitasse.errors import DataError

Entry = TypeVar("Entry")


class ListOrder(Order, Generic[Entry]):
    """Gives the entries of a list one after the other; at the end it begins again.

    Args:
        entries: the list.
        path: its file, for messages.
        shuffle: whether each epoch has an order of its own.
        rand_skip: the first epoch begins at a random entry below this number; 0 for the first entry.
    """

    def __init__(self, entries: Sequence[Entry], path: str, shuffle: bool, rand_skip: int) -> None:
        self._entries, self._path, self._shuffle, self._rand_skip = entries, path, shuffle, rand_skip
        self._order: Sequence[int] = ()
        self._position = 0

    @override
    def __len__(self) -> int:
        return len(self._entries)

    @override
    def rewind(self, random: np.random.Generator) -> None:
        """Returns to the beginning of the list."""
        skip = int(random.integers(self._rand_skip)) if self._rand_skip else 0
        self._start_epoch(random)
        self._position = skip % len(self._order)

    def next_entries(self, count: int, random: np.random.Generator) -> list[Entry]:
        """Returns the next ``count`` entries."""
        found: list[Entry] = []
        while len(found) < count:
            if self._position == len(self._order):
                self._start_epoch(random)
            part = self._order[self._position : self._position + count - len(found)]
            found += [self._entries[index] for index in part]
            self._position += len(part)
        return found

    @override
    def position(self, random: np.random.Generator) -> State:
        """Returns the position and the state of the generator, as plain values for JSON."""
        # the order is not stored; it is drawn again from the generator's state before the epoch
        return {"random": random.bit_generator.state, "before": self._before, "position": self._position}

    @override
    def seek(self, position: State, random: np.random.Generator) -> None:
        """Moves to a position returned by :meth:`position`.

        Raises:
            DataError: the list has fewer entries.
        """
        if not 0 <= position["position"] <= len(self._entries):
            raise DataError(
                f"{self._path}: the state is at image {position['position']}, but the list has {len(self._entries)}"
            )
        random.bit_generator.state = position["before"]
        self._start_epoch(random)
        random.bit_generator.state = position["random"]
        self._position = position["position"]

    def _start_epoch(self, random: np.random.Generator) -> None:
        count = len(self._entries)
        self._before = random.bit_generator.state
        self._order = random.permutation(count).tolist() if self._shuffle else range(count)
        self._position = 0
