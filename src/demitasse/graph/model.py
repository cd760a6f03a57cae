"""A graph together with what is known of its inputs: what is exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from demitasse.errors import UsageError, parameter
from demitasse.graph.graph import Graph, Shape

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Model:
    """A net in its deploy form: what computes the scores, without labels and losses.

    Attributes:
        graph: the net.
        inputs: name -> shape, with the batch of the net.
        batch_axes: input -> axis of its batch, where it has one.
        reference: computes the outputs by name with the net that the graph was read from; what was made of the graph
            is compared with it.
        dynamic: whether the batch may have any size; else it is that of ``inputs``.
    """

    graph: Graph
    inputs: dict[str, Shape]
    batch_axes: dict[str, int]
    reference: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    dynamic: bool = True

    @property
    def name(self) -> str:
        """The name of the net."""
        return self.graph.name

    @property
    def outputs(self) -> list[str]:
        """The names of the blobs that are returned, in the order of the net."""
        return list(self.graph.outputs)

    def batch(self) -> int:
        """Returns the size of the batch.

        Raises:
            UsageError: inputs have batches of different sizes.
        """
        sizes = {name: self.inputs[name][axis] for name, axis in self.batch_axes.items()}
        if len(set(sizes.values())) > 1:
            raise UsageError(
                f"the inputs have batches of different sizes, {sizes}; keep them by {parameter('batch', 'fixed')}"
            )
        return next(iter(sizes.values()))

    def sized(self, batch: int) -> dict[str, Shape]:
        """Returns the shapes of the inputs for a batch of this size."""
        shapes = {}
        for name, shape in self.inputs.items():
            axis = self.batch_axes.get(name)
            shapes[name] = shape if axis is None else (*shape[:axis], batch, *shape[axis + 1 :])
        return shapes

    def fixed(self, batch: int | None = None) -> Model:
        """Returns the same model with batches of one size; None keeps the net's.

        Raises:
            UsageError: a size is given, but the inputs have batches of different sizes.
        """
        if batch is not None and self.batch_axes:
            self.batch()
        return replace(self, inputs=self.inputs if batch is None else self.sized(batch), dynamic=False)
