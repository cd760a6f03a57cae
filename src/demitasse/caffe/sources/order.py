"""The order in which a source reads its data, and sources that have one."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from typing_extensions import override

from demitasse.caffe.sources.ahead import AheadSource, Plan
from demitasse.caffe.sources.base import State


class Order(ABC):
    """Gives items one after the other; at the end it begins again."""

    @abstractmethod
    def __len__(self) -> int:
        """Returns the number of items."""

    @abstractmethod
    def rewind(self, random: np.random.Generator) -> None:
        """Returns to the beginning."""

    @abstractmethod
    def position(self, random: np.random.Generator) -> State:
        """Returns the position and the state of the generator, as plain values for JSON."""

    @abstractmethod
    def seek(self, position: State, random: np.random.Generator) -> None:
        """Moves to a position returned by :meth:`position`.

        Raises:
            DataError: there is no such position.
        """

    def close(self) -> None:  # noqa: B027 (most orders have nothing to close)
        """Closes what the items are read from."""


class OrderedSource(AheadSource[Plan]):
    """A source whose items come in an :class:`Order`."""

    order: Order

    @override
    def epoch(self) -> int:
        return len(self.order)

    @override
    def rewind(self) -> None:
        self.order.rewind(self.random)

    @override
    def position(self) -> State:
        return self.order.position(self.random)

    @override
    def seek(self, position: State) -> None:
        self.order.seek(position, self.random)

    @override
    def close(self) -> None:
        super().close()
        self.order.close()
