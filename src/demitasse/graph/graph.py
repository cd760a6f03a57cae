"""Graph, its values and its steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

from demitasse.graph.weights import Weight, tensor

if TYPE_CHECKING:
    from torch import Tensor, nn

Shape = tuple[int, ...]


class Value(NamedTuple):
    """One tensor of a graph. Every value is made once, also where the net works in place.

    Attributes:
        name: of the blob; several values may have the same name.
        shape: its shape, with the batch that the net was built for.
    """

    name: str
    shape: Shape


@dataclass(eq=False)
class Step:
    """One operation.

    Attributes:
        name: of the layer that it was read from; of the first one where several became one step.
        kind: the operation. A Caffe layer's type, but layers of compressed weights are plain ones here, with the
            weights that they compute with. An operation of a kind that nobody knows is computed by :attr:`call`.
        inputs: numbers of the values that it takes.
        outputs: numbers of the values that it makes.
        settings: how it computes, plain data by name; which names depends on the kind, see
            :mod:`demitasse.graph.caffe.operations`.
        weights: its tensors by name; of a file also arrays, or packed matrices.
        maker: makes :attr:`call`; None if that follows from kind, settings and weights.
        adds: whether the last input is a summand that is added to the result before the activation.
        activation: the settings of the activation that is applied last.
        dead: numbers of the values that no later step takes.
        overwrites: whether the memory of the input that is changed, which is the summand or the only input, may
            become that of the output.
    """

    name: str
    kind: str
    inputs: list[int]
    outputs: list[int]
    settings: SimpleNamespace
    weights: dict[str, Weight]
    maker: Callable[[], nn.Module] | None = None
    adds: bool = False
    activation: Activation | None = None
    dead: list[int] = field(default_factory=list)
    overwrites: bool = False

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The weights as PyTorch tensors."""
        return {name: tensor(weight) for name, weight in self.weights.items()}

    @cached_property
    def call(self) -> nn.Module:
        """Computes the operation in PyTorch as it was read, whatever passes have changed since then.

        It is made when it is first asked for: a graph that is computed by other means never needs PyTorch.
        """
        if self.maker is not None:
            return self.maker()
        from demitasse.graph.calls import call_of

        return call_of(self)


@dataclass(frozen=True)
class Ready:
    """The maker of a module that is there already.

    Attributes:
        module: what it returns.
    """

    module: nn.Module

    def __call__(self) -> nn.Module:
        """Returns the module."""
        return self.module


class Activation(NamedTuple):
    """A function of each entry.

    Attributes:
        kind: ``ReLU``, ``LeakyReLU`` (of a slope) or ``Clip`` (of a minimum and a maximum).
        numbers: its parameters.
    """

    kind: str
    numbers: tuple[float, ...] = ()


@dataclass
class Graph:
    """Steps in the order in which they are computed.

    Attributes:
        name: of the net.
        values: the values by their numbers.
        inputs: name of a blob that is fed -> number of its value.
        outputs: name of a blob that is returned -> number of its value.
        steps: the operations.
        without_batch: numbers of the values whose first size is not that of the batch, though it may be equal to it in
            the example, or whose other sizes depend on it.
        check: is called with the inputs in order before PyTorch computes a module that was read from a file; else None.
    """

    name: str
    values: list[Value] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    without_batch: set[int] = field(default_factory=set)
    check: Callable[[Sequence[object]], None] | None = None

    def add_value(self, name: str, shape: Sequence[int], has_batch: bool = True) -> int:
        """Adds a value and returns its number."""
        if not has_batch:
            self.without_batch.add(len(self.values))
        self.values.append(Value(name, tuple(shape)))
        return len(self.values) - 1

    def shapes(self, step: Step) -> list[Shape]:
        """Returns the shapes of the inputs of a step."""
        return [self.values[number].shape for number in step.inputs]

    def copy(self) -> Graph:
        """Returns a graph with steps of its own, which a pass may change; tensors and modules are shared."""
        steps = [
            replace(
                step,
                inputs=list(step.inputs),
                outputs=list(step.outputs),
                weights=dict(step.weights),
                dead=list(step.dead),
            )
            for step in self.steps
        ]
        return Graph(
            self.name,
            list(self.values),
            dict(self.inputs),
            dict(self.outputs),
            steps,
            set(self.without_batch),
            self.check,
        )

    def users(self) -> dict[int, list[Step]]:
        """Returns number of a value -> the steps that take it, in order; once for each time that they take it."""
        found: dict[int, list[Step]] = defaultdict(list)
        for step in self.steps:
            for number in step.inputs:
                found[number].append(step)
        return found

    def only_user(self, number: int) -> Step | None:
        """Returns the step that takes a value, if exactly one takes it, once, and the value is no output."""
        users = self.users()[number]
        return users[0] if len(users) == 1 and number not in self.outputs.values() else None

    def absorb(self, step: Step, user: Step) -> None:
        """Removes ``user``, whose outputs ``step`` makes from now on."""
        step.outputs = user.outputs
        self.steps.remove(user)
