"""What checks the shapes of a stored graph when it is computed by PyTorch, which is not needed before."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from demitasse.graph.graph import Graph

if TYPE_CHECKING:
    from demitasse.graph.bounds import Bounds


class Guard:
    """Checks the shapes of a stored graph before it is computed; see :mod:`demitasse.graph.bounds`.

    Args:
        graph: the graph, as it was read.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __call__(self, inputs: Sequence[object]) -> None:
        """Checks inputs, in order.

        Raises:
            FileFormatError: the functions of the graph do not fit together.
            UsageError: they do not fit the inputs, or take too much memory.
        """
        self.bounds.check(inputs)

    @cached_property
    def bounds(self) -> Bounds:
        """What checks the shapes."""
        from demitasse.graph.bounds import Bounds

        return Bounds(self._graph)
