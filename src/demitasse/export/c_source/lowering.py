"""From a graph to the operations of C: one function for each kind of step; others are errors that name the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np

from demitasse.errors import ExportError
from demitasse.export.c_source.net import (
    Addition,
    CNet,
    COperation,
    CTensor,
    GreatestPlace,
    Limits,
    Pair,
    PlanePooling,
    PlaneWindows,
    Pointwise,
    Pooling2d,
    WeightedSum,
)
from demitasse.graph.graph import Graph, Shape, Step
from demitasse.graph.passes import drop_identities, drop_unused, fold_normalizations, merge_normalizations
from demitasse.graph.products import is_convolution
from demitasse.graph.weights import Doubles, doubles
from demitasse.registry import Registry

_PASSES = (drop_unused, drop_identities, merge_normalizations, fold_normalizations)


def lowered(graph: Graph) -> CNet:
    """Returns what C computes for a graph, for one example.

    Raises:
        ExportError: a step has no form in C; names it.
    """
    return CLowering(reduce(lambda made, apply: apply(made), _PASSES, graph)).net


class CLowering:
    """The net so far, and which of its tensors has which value of the graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.net = CNet(graph.name)
        self.numbers: dict[int, int] = {}
        for name, value in graph.inputs.items():
            self.net.inputs[name] = self.numbers[value] = self.net.add(self.tensor(value))
        for step in graph.steps:
            if step.kind not in LOWERINGS:
                raise ExportError(f"layer {step.name!r} of type {step.kind} has no form in C")
            if step.adds or step.activation or len(step.outputs) != 1:
                raise refused(step, "it has a second output")
            LOWERINGS[step.kind](self, step)
        for name, value in graph.outputs.items():
            self.net.outputs[name] = self._own(name, self.numbers[value])

    def tensor(self, value: int) -> CTensor:
        """Returns the tensor of a value.

        Raises:
            ExportError: the value has no batch.
        """
        name, shape = self.graph.values[value]
        if value in self.graph.without_batch or not shape:
            raise ExportError(f"blob {name!r} of shape {list(shape)} has no axis of the batch")
        return CTensor(name, *_planes(shape))

    def taken(self, step: Step, index: int = 0) -> int:
        """Returns the number of the tensor that a step takes."""
        return self.numbers[step.inputs[index]]

    def make(self, step: Step) -> int:
        """Adds the tensor that a step makes, and returns its number."""
        self.numbers[step.outputs[0]] = number = self.net.add(self.tensor(step.outputs[0]))
        return number

    def alias(self, step: Step) -> None:
        """Notes that a step gives its input another shape at most."""
        self.numbers[step.outputs[0]] = self.taken(step)

    def before(self, step: Step) -> COperation | None:
        """Returns the operation whose result only this step takes."""
        if self.graph.only_user(step.inputs[0]) is not step:
            return None
        return self.net.maker(self.taken(step))

    def limit(self, step: Step, limits: Limits) -> None:
        """Applies limits in the operation before the step, or in one of their own."""
        before = self.before(step)
        pooled = before is not None and getattr(before, "pooling", None)
        free = before is not None and before.limits == Limits() and not isinstance(before, PlanePooling)
        if before is not None and free and (not pooled or (pooled.method == "MAX" and limits.keeps_order)):
            before.limits = limits
            self.alias(step)
        else:
            self.net.operations.append(
                Pointwise(name=step.name, inputs=[self.taken(step)], output=self.make(step), limits=limits)
            )

    def greatest(self, step: Step, last: bool) -> None:
        """Adds the place of the greatest value, which must be an output; the last or the first of several."""
        if step.outputs[0] not in self.graph.outputs.values() or step.outputs[0] in self.graph.users():
            raise refused(step, "it is not at the end of the net")
        if self.net.tensors[self.taken(step)].size > 1 << 15:
            raise refused(step, "C has places up to 32,767")
        self.net.operations.append(
            GreatestPlace(name=step.name, inputs=[self.taken(step)], output=self.make(step), last=last)
        )

    def _own(self, name: str, number: int) -> int:
        """Returns a tensor that is an output and nothing else: a copy where it is an input, a part, or two outputs."""
        tensor = self.net.tensors[number]
        taken = [*self.net.inputs.values(), *self.net.outputs.values()]
        if number not in taken and tensor.home is None:
            return number
        made = self.net.add(CTensor(tensor.name, tensor.channels, tensor.plane))
        self.net.operations.append(Pointwise(name=name, inputs=[number], output=made))
        return made


LOWERINGS: Registry[Callable[[CLowering, Step], None]] = Registry("operation in C")


def refused(step: Step, reason: str) -> ExportError:
    """Returns the error that a step has no form in C."""
    return ExportError(f"layer {step.name!r} of type {step.kind} has no form in C: {reason}")


def pair(sizes: Sequence[int]) -> Pair:
    """Returns the sizes of two axes."""
    down, across = sizes
    return int(down), int(across)


def _planes(shape: Shape) -> tuple[int, tuple[int, int]]:
    """Returns the channels and the plane of one example of a shape."""
    if len(shape) == 4:
        return shape[1], (shape[2], shape[3])
    return math.prod(shape[1:]), (1, 1)


@LOWERINGS.register("Convolution")
def _convolution(to: CLowering, step: Step) -> None:
    given, (shape,) = step.settings, to.graph.shapes(step)
    if not is_convolution(step) or len(given.kernel) != 2:
        raise refused(step, f"it has {len(given.kernel)} spatial axes; C has 2")
    weight = doubles(step.weights["weight"])
    plane, made = shape[2:], to.graph.values[step.outputs[0]].shape
    kernel, stride, pad, dilation = map(pair, (given.kernel, given.stride, given.pad, given.dilation))
    windows = PlaneWindows(pair(plane), kernel, stride, pad, dilation, pair(made[2:]))
    _weighted(to, step, weight.reshape(len(weight), -1), windows, given.group)


@LOWERINGS.register("InnerProduct")
def _inner_product(to: CLowering, step: Step) -> None:
    (shape,) = to.graph.shapes(step)
    if step.settings.axis != 1:
        raise refused(step, f"its inputs are axes {step.settings.axis} and on of {list(shape)}; C has 1 and on")
    _weighted(to, step, doubles(step.weights["weight"]))


def _weighted(to: CLowering, step: Step, weight: Doubles, windows: PlaneWindows | None = None, groups: int = 1) -> None:
    bias = doubles(step.weights["bias"]) if "bias" in step.weights else np.zeros(len(weight))
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise refused(step, "its weights are not finite")
    to.net.operations.append(
        WeightedSum(
            name=step.name, inputs=[to.taken(step)], output=to.make(step), weight=weight, bias=bias, windows=windows,
            groups=groups,
        )
    )  # fmt: skip


@LOWERINGS.register("Pooling")
def _pooling(to: CLowering, step: Step) -> None:
    given = step.settings
    if given.method not in ("MAX", "AVE"):
        raise refused(step, f"its method is {given.method}; C has MAX and AVE")
    plane, kernel, stride, pad, sizes = map(pair, (given.plane, given.kernel, given.stride, given.pad, given.sizes))
    windows = PlaneWindows(plane, kernel, stride, pad, (1, 1), sizes)
    if any(
        (size - 1) * apart - around >= length
        for size, apart, around, length in zip(sizes, stride, pad, plane, strict=True)
    ):
        raise refused(step, "its last windows are outside of the plane")
    _pooled(to, step, Pooling2d(given.method, windows))


@LOWERINGS.register("GlobalMean")
def _global_mean(to: CLowering, step: Step) -> None:
    plane = pair(to.graph.shapes(step)[0][2:])
    _pooled(to, step, Pooling2d("AVE", PlaneWindows(plane, plane, (1, 1), (0, 0), (1, 1), (1, 1))))


def _pooled(to: CLowering, step: Step, pooling: Pooling2d) -> None:
    before = to.before(step)
    if isinstance(before, WeightedSum) and before.windows and before.pooling is None:
        before.pooling, before.output = pooling, to.make(step)
    else:
        to.net.operations.append(
            PlanePooling(name=step.name, inputs=[to.taken(step)], output=to.make(step), pooling=pooling)
        )


@LOWERINGS.register("ReLU")
def _relu(to: CLowering, step: Step) -> None:
    slope = step.settings.slope
    to.limit(step, Limits(slopes=np.array([slope])) if slope else Limits(low=0.0))


@LOWERINGS.register("PReLU")
def _prelu(to: CLowering, step: Step) -> None:
    to.limit(step, Limits(slopes=doubles(step.weights["weight"]).reshape(-1)))


@LOWERINGS.register("Clip")
def _clip(to: CLowering, step: Step) -> None:
    to.limit(step, Limits(step.settings.min, step.settings.max))


@LOWERINGS.register("Eltwise")
def _sum(to: CLowering, step: Step) -> None:
    given = step.settings
    coeff = list(given.coeff) or [1.0] * len(step.inputs)
    if given.operation != "SUM" or not set(coeff) <= {1.0, -1.0}:
        raise refused(step, f"found {given.operation} with factors {coeff}; C has sums with factors of 1 and -1")
    inputs, signs = [to.numbers[each] for each in step.inputs], [int(each) for each in coeff]
    to.net.operations.append(Addition(name=step.name, inputs=inputs, output=to.make(step), signs=signs))


@LOWERINGS.register("Concat")
def _concat(to: CLowering, step: Step) -> None:
    """The parts are computed where they belong; what is computed for something else, too, is copied."""
    if step.settings.axis != 1:
        raise refused(step, f"its axis is {step.settings.axis}; C has 1")
    output, channel = to.make(step), 0
    for value, number in zip(step.inputs, map(to.numbers.__getitem__, step.inputs), strict=True):
        part = to.net.tensors[number]
        is_free = part.home is None and to.net.maker(number) is not None and step.inputs.count(value) == 1
        if is_free and part.plane == to.net.tensors[output].plane and value not in to.graph.outputs.values():
            part.home = output, channel
        else:
            made = to.net.add(CTensor(part.name, part.channels, part.plane, (output, channel)))
            to.net.operations.append(Pointwise(name=step.name, inputs=[number], output=made))
        channel += part.channels


@LOWERINGS.register("Flatten", "Reshape")
def _shape(to: CLowering, step: Step) -> None:
    made, (shape,) = to.graph.values[step.outputs[0]].shape, to.graph.shapes(step)
    if step.outputs[0] in to.graph.without_batch or made[:1] != shape[:1]:
        raise refused(step, "it changes the axis of the batch")
    tensor = to.net.tensors[to.taken(step)]
    if _planes(made) in (_planes(shape), (tensor.size, (1, 1))):
        to.alias(step)
    else:
        raise refused(step, f"it makes {list(made)} of {list(shape)}; C makes vectors")


@LOWERINGS.register("Softmax")
def _softmax(to: CLowering, step: Step) -> None:
    """The order of the scores is that of their softmax, which is taken where they become floats."""
    names = [name for name, value in to.graph.outputs.items() if value == step.outputs[0]]
    (shape,), users = to.graph.shapes(step), to.graph.users().get(step.outputs[0], [])
    is_last = all(user.kind in ("ArgMax", "argmax") for user in users)
    if not is_last or step.settings.axis != 1 or math.prod(shape[2:]) != 1:
        raise refused(step, "it is not of a vector at the end of the net")
    to.net.softmax.update(names)
    to.alias(step)


@LOWERINGS.register("ArgMax")
def _arg_max(to: CLowering, step: Step) -> None:
    given, (shape,) = step.settings, to.graph.shapes(step)
    if given.top_k != 1 or given.with_scores or given.axis not in (None, 1):
        raise refused(step, "C has the place of the greatest score of all alone")
    if given.axis == 1 and math.prod(shape[2:]) != 1:
        raise refused(step, "it is not of a vector")
    to.greatest(step, last=True)
