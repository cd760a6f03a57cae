"""Steps that are calls of PyTorch's functions, and of no kind of graphs: the few that C has a form for."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from demitasse.export.c_source.lowering import LOWERINGS, CLowering, pair, refused
from demitasse.export.c_source.net import Addition, Limits, PlanePooling, PlaneWindows, Pooling2d, WeightedSum
from demitasse.graph.graph import Step
from demitasse.graph.named import InputPlace, NamedCall, ProgramCall
from demitasse.graph.weights import doubles


def _arguments(step: Step, *places: int) -> list[object]:
    """Returns the arguments of a call, whose inputs are at these places.

    Raises:
        ExportError: its inputs are at others, or it has named arguments.
    """
    call = step.maker
    if not isinstance(call, NamedCall | ProgramCall) or call.kwargs:
        raise refused(step, "it is called with other arguments than C knows")
    found = [place for place, argument in enumerate(call.args) if isinstance(argument, InputPlace)]
    if found != list(places):
        raise refused(step, f"its arguments {found} are computed; C knows the call with {list(places)}")
    return list(call.args)


@LOWERINGS.register("slice")
def _slice(to: CLowering, step: Step) -> None:
    """Every n-th row or column of planes is the maximum of windows of one value."""
    axis, start, end, stride = ([*_arguments(step, 0)[1:], *(None,) * 4])[:4]
    (shape,), stride = to.graph.shapes(step), stride or 1
    axis = axis or 0
    assert isinstance(axis, int)
    whole = start in (None, 0) and (end is None or (isinstance(end, int) and end >= shape[axis]))
    if whole and stride == 1:
        to.alias(step)
        return
    if not whole or axis % len(shape) < 2 or len(shape) != 4 or not isinstance(stride, int):
        raise refused(
            step, f"it takes {start} to {end} of axis {axis}; C takes whole axes, and every n-th row or column"
        )
    made = to.graph.values[step.outputs[0]].shape
    strides = (stride, 1) if axis % 4 == 2 else (1, stride)
    windows = PlaneWindows(pair(shape[2:]), (1, 1), strides, (0, 0), (1, 1), pair(made[2:]))
    to.net.operations.append(
        PlanePooling(name=step.name, inputs=[to.taken(step)], output=to.make(step), pooling=Pooling2d("MAX", windows))
    )


@LOWERINGS.register("pad")
def _pad(to: CLowering, step: Step) -> None:
    """Channels of zeros before and after others: a convolution with a single 1 in each row that is not zero."""
    sides, mode, fill = ([*_arguments(step, 0)[1:], *(None,) * 3])[:3]
    (shape,) = to.graph.shapes(step)
    is_channels = isinstance(sides, list | tuple) and len(sides) == 6 and not any(sides[:4]) and min(sides) >= 0
    if len(shape) != 4 or not is_channels or mode not in (None, "constant") or fill not in (None, 0):
        raise refused(step, f"it pads by {sides}; C pads channels with zeros")
    assert isinstance(sides, list | tuple)
    weight = np.pad(np.eye(shape[1]), ((sides[4], sides[5]), (0, 0)))
    plane = pair(shape[2:])
    to.net.operations.append(
        WeightedSum(
            name=step.name, inputs=[to.taken(step)], output=to.make(step), weight=weight, bias=np.zeros(len(weight)),
            windows=PlaneWindows(plane, (1, 1), (1, 1), (0, 0), (1, 1), plane),
        )
    )  # fmt: skip


@LOWERINGS.register("sub")
def _difference(to: CLowering, step: Step) -> None:
    arguments, (one, *others) = _arguments(step, 0, 1), to.graph.shapes(step)
    if len(arguments) != 2 or others != [one]:
        raise refused(step, "C has differences of two tensors of the same shape")
    inputs = [to.numbers[number] for number in step.inputs]
    to.net.operations.append(Addition(name=step.name, inputs=inputs, output=to.make(step), signs=[1, -1]))


@LOWERINGS.register("argmax")
def _arg_max(to: CLowering, step: Step) -> None:
    axis, _ = ([*_arguments(step, 0)[1:], None, None])[:2]
    (shape,) = to.graph.shapes(step)
    if not isinstance(axis, int) or axis % len(shape) != 1 or np.prod(shape[2:]) != 1:
        raise refused(step, f"its axis is {axis} of {list(shape)}; C has axis 1 of vectors")
    to.greatest(step, last=False)


@LOWERINGS.register("prelu")
def _slopes(to: CLowering, step: Step) -> None:
    slopes = _arguments(step, 0)[1]
    if not isinstance(slopes, Tensor):
        raise refused(step, "its slopes are computed")
    to.limit(step, Limits(slopes=doubles(slopes).reshape(-1)))
