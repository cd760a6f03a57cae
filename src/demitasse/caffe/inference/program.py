"""A net's layers as steps between numbered values: every value is made once, also where Caffe works in place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from demitasse.caffe.layers import Layer
from demitasse.caffe.layers.dropout import Dropout
from demitasse.caffe.net import Net
from demitasse.errors import NetError
from demitasse.registry import suggest


@dataclass
class Step:
    """One call.

    Attributes:
        run: takes the values of ``bottoms``; returns a tensor, or a tuple of one a top.
        layer: the layer that it stands for, the first of those that became one.
        bottoms: numbers of the values that it takes.
        tops: numbers of the values that it makes.
        dead: numbers of the values that no later step takes.
    """

    run: Callable[..., Any]
    layer: Layer
    bottoms: list[int]
    tops: list[int]
    dead: list[int] = field(default_factory=list)


@dataclass
class Program:
    """Steps in order.

    Attributes:
        steps: what to do.
        inputs: name of a blob that sources or the caller feed -> its value.
        results: name of a blob to return -> its value.
        shapes: the shape of each value, by its number.
    """

    steps: list[Step] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    results: dict[str, int] = field(default_factory=dict)
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    def takers(self) -> dict[int, list[Step]]:
        """Returns value -> the steps that take it, in order."""
        found: dict[int, list[Step]] = defaultdict(list)
        for step in self.steps:
            for value in step.bottoms:
                found[value].append(step)
        return found

    def only_taker(self, value: int) -> Step | None:
        """Returns the step that takes a value, if there is one alone and the value is no result."""
        takers = self.takers()[value]
        return takers[0] if len(takers) == 1 and value not in self.results.values() else None

    def take_in(self, step: Step, taker: Step) -> None:
        """Lets ``step`` make what ``taker`` made of its top."""
        step.tops = taker.tops
        self.steps.remove(taker)


def read(net: Net, keep: Collection[str] = ()) -> Program:
    """Returns the program of a net, a step a layer; layers that change nothing are left out.

    Args:
        net: in phase TEST.
        keep: names of blobs to return beside outputs and parts of the loss.

    Raises:
        NetError: ``keep`` names no blob.
    """
    program = Program()
    current: dict[str, int] = {}
    for label, spec in zip(net.labels, net.spec.layer, strict=True):
        bottoms = [current[name] for name in spec.bottom]
        if label not in net.sources and _changes_nothing(net.layer(label)):
            current.update((name, bottoms[0]) for name in spec.top)
            continue
        tops = list(range(len(program.shapes), len(program.shapes) + len(spec.top)))
        program.shapes += [net.shapes[name] for name in spec.top]
        current.update(zip(spec.top, tops, strict=True))
        if label in net.sources:
            program.inputs.update(zip(spec.top, tops, strict=True))
        else:
            layer = net.layer(label)
            program.steps.append(Step(layer, layer, bottoms, tops))
    for name in (*net.outputs, *net.losses, *keep):
        if name not in current:
            raise NetError(f"no blob {name!r}; {suggest(name, current)}")
        program.results[name] = current[name]
    return program


def _changes_nothing(layer: Layer) -> bool:
    if isinstance(layer, Dropout):
        return layer.changes_nothing()
    return layer.spec.type == "Split" and not layer.training
