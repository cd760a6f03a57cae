"""The kinds of steps that a file may contain: what settings and weights they have, and which shape they make.

Each kind is described once, here. A file gives only the settings that differ from what is found here: a default, or
what follows from the shapes of the inputs and the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import NamedTuple

from demitasse.errors import FileFormatError
from demitasse.graph import settings as setting
from demitasse.graph.graph import Shape
from demitasse.graph.settings import Setting, expect
from demitasse.registry import Registry, suggest


class Given(NamedTuple):
    """What is known of a step before its own shape.

    Attributes:
        settings: those of the kind, checked; one that is None follows from the shapes.
        shapes: of the inputs.
        weights: name of a weight -> its shape.
    """

    settings: SimpleNamespace
    shapes: Sequence[Shape]
    weights: Mapping[str, Shape]


class Found(NamedTuple):
    """What follows.

    Attributes:
        settings: all settings of the step.
        shape: of its output.
    """

    settings: SimpleNamespace
    shape: Shape


class Kind(NamedTuple):
    """A kind of steps with one output.

    Attributes:
        settings: name -> setting, of those that a file may give.
        weights: names of the weights -> whether a step must have it.
        inputs: the least and the greatest number of inputs; None for any.
        infer: what follows from what is given; raises FileFormatError if that does not fit together.
    """

    settings: Mapping[str, Setting]
    weights: Mapping[str, bool]
    inputs: tuple[int, int | None]
    infer: Callable[[Given], Found]

    def found(self, settings: Mapping[str, object], shapes: Sequence[Shape], weights: Mapping[str, Shape]) -> Found:
        """Returns all settings and the shape of the output.

        Raises:
            FileFormatError: something is unknown, missing, or does not fit the rest.
        """
        least, most = self.inputs
        fits = least <= len(shapes) <= (most or len(shapes))
        expect(fits, f"found {len(shapes)} inputs", f"{least} to {most or 'n'}")
        for name in settings:
            if name not in self.settings:
                raise FileFormatError(f"unknown setting {name!r}; {suggest(name, self.settings)}")
        for name, needed in self.weights.items():
            expect(name in weights or not needed, f"there is no {name}", "a tensor of the file")
        checked = SimpleNamespace()
        for name, known in self.settings.items():
            setattr(checked, name, _checked(name, known, settings) if name in settings else known.default)
        return self.infer(Given(checked, shapes, weights))


KINDS: Registry[Kind] = Registry("kind of step")


def _checked(name: str, known: Setting, settings: Mapping[str, object]) -> object:
    try:
        return known.check(settings[name])
    except FileFormatError as error:
        raise error.within(name) from error


def _register(
    *names: str,
    weights: Mapping[str, bool] | None = None,
    inputs: tuple[int, int | None] = (1, 1),
    **settings: Setting,
) -> Callable[[Callable[[Given], Found]], Callable[[Given], Found]]:
    def enter(infer: Callable[[Given], Found]) -> Callable[[Given], Found]:
        KINDS.register(*names)(Kind(settings, weights or {}, inputs, infer))
        return infer

    return enter


def _spread(sizes: tuple[int, ...], axes: int, what: str) -> tuple[int, ...]:
    """Returns a size for each axis."""
    expect(len(sizes) in (1, axes), f"{what} has {len(sizes)} sizes", f"{axes}")
    return sizes * axes if len(sizes) == 1 else sizes


def _count(length: int, kernel: int, stride: int, pad: int, rounds_up: bool = False) -> int:
    """Returns the number of windows along an axis; one that would begin behind the padded input is left out."""
    span = length + 2 * pad - kernel
    count = (-(-span // stride) if rounds_up else span // stride) + 1
    return count - 1 if rounds_up and (count - 1) * stride >= length + pad else count


@_register(
    "Convolution", weights={"weight": True, "bias": False}, stride=setting.windows(1, 1), pad=setting.windows(0, 0),
    dilation=setting.windows(1, 1),
)  # fmt: skip
def _convolution(given: Given) -> Found:
    (shape,), weight, settings = given.shapes, given.weights["weight"], given.settings
    axes = len(shape) - 2
    expect(1 <= axes <= 3 and len(weight) == axes + 2, f"a weight of {len(weight)} axes for {len(shape)}", "3 to 5")
    group = shape[1] // weight[1]
    fits = group > 0 and group * weight[1] == shape[1] and weight[0] % group == 0
    expect(fits, f"a weight of shape {list(weight)} for {shape[1]} channels", "their number, or a part of it")
    _expect_vector(given, "bias", weight[0])
    stride, pad, dilation = (_spread(getattr(settings, name), axes, name) for name in ("stride", "pad", "dilation"))
    reaches = [(kernel - 1) * step + 1 for kernel, step in zip(weight[2:], dilation, strict=True)]
    sizes = [_count(*axis) for axis in zip(shape[2:], reaches, stride, pad, strict=True)]
    full = SimpleNamespace(
        axis=1, kernel=tuple(weight[2:]), stride=stride, pad=pad, dilation=dilation, group=group
    )  # fmt: skip
    return Found(full, (shape[0], weight[0], *sizes))


def _expect_vector(given: Given, name: str, size: int) -> None:
    found = given.weights.get(name, (size,))
    expect(found == (size,), f"{name} of shape {list(found)}", f"{[size]}")


@_register("InnerProduct", weights={"weight": True, "bias": False}, axis=setting.axis())
def _inner_product(given: Given) -> Found:
    (shape,), weight = given.shapes, given.weights["weight"]
    expect(len(weight) == 2, f"a weight of {len(weight)} axes", "2")
    _expect_vector(given, "bias", weight[0])
    axes = range(1, len(shape)) if given.settings.axis is None else [given.settings.axis]
    fitting = [axis for axis in axes if axis < len(shape) and math.prod(shape[axis:]) == weight[1]]
    expect(bool(fitting), f"an input of shape {list(shape)}", f"{weight[1]} entries from an axis on")
    return Found(SimpleNamespace(axis=fitting[0]), (*shape[: fitting[0]], weight[0]))


@_register(
    "BatchNorm", weights={"mean": True, "variance": True, "weight": False, "bias": False}, eps=setting.number(1e-5)
)  # fmt: skip
def _batch_norm(given: Given) -> Found:
    (shape,) = given.shapes
    channels = shape[1] if len(shape) > 1 else 1
    for name in ("mean", "variance", "weight", "bias"):
        _expect_vector(given, name, channels)
    expect(("weight" in given.weights) == ("bias" in given.weights), "one of weight and bias", "both or none")
    return Found(SimpleNamespace(eps=given.settings.eps), shape)


@_register("Scale", weights={"weight": True, "bias": False}, expanded=setting.sizes(None))
def _scale(given: Given) -> Found:
    return _broadcast(given, "weight")


@_register("Bias", weights={"bias": True}, expanded=setting.sizes(None))
def _bias(given: Given) -> Found:
    return _broadcast(given, "bias")


def _broadcast(given: Given, name: str) -> Found:
    """``expanded`` is the shape of the weight, and 1 for each axis after it; by default it begins at axis 1."""
    (shape,), covered = given.shapes, given.weights[name]
    expanded = given.settings.expanded
    expanded = (*covered, *(1,) * (len(shape) - 1 - len(covered))) if expanded is None else tuple(expanded)
    axis = len(shape) - len(expanded)
    fits = axis >= 0 and expanded[: len(covered)] == covered == shape[axis : axis + len(covered)]
    fits = fits and math.prod(expanded) == math.prod(covered)
    expect(fits, f"{name} of shape {list(covered)} as {list(expanded)} for {list(shape)}", "axes of the input")
    bias = given.weights.get("bias", covered)
    expect(bias == covered, f"bias of shape {list(bias)}", f"{list(covered)}")
    return Found(SimpleNamespace(expanded=expanded), shape)


@_register("ReLU", slope=setting.number(0.0))
def _relu(given: Given) -> Found:
    return Found(given.settings, given.shapes[0])


@_register("Clip", min=setting.number(0.0), max=setting.number(6.0))
def _clip(given: Given) -> Found:
    settings = given.settings
    expect(settings.min <= settings.max, f"a range from {settings.min} to {settings.max}", "the smaller number first")
    return Found(settings, given.shapes[0])


@_register("Eltwise", inputs=(2, None), operation=setting.choice("SUM", "PROD", "MAX"), coeff=setting.numbers())
def _eltwise(given: Given) -> Found:
    settings, (first, *others) = given.settings, given.shapes
    expect(all(shape == first for shape in others), f"inputs of shapes {_shown(given.shapes)}", "equal ones")
    settings.coeff = list(settings.coeff)
    fits = not settings.coeff or (settings.operation == "SUM" and len(settings.coeff) == len(given.shapes))
    expect(fits, f"{len(settings.coeff)} values of coeff", "one for each input of a SUM")
    return Found(settings, first)


@_register("Concat", inputs=(1, None), axis=setting.axis(1))
def _concat(given: Given) -> Found:
    axis, (first, *others) = given.settings.axis, given.shapes
    fits = axis < len(first) and all(
        (*shape[:axis], 0, *shape[axis + 1 :]) == (*first[:axis], 0, *first[axis + 1 :]) for shape in others
    )
    expect(fits, f"inputs of shapes {_shown(given.shapes)}", f"equal ones but for axis {axis}")
    size = sum(shape[axis] for shape in given.shapes)
    return Found(given.settings, (*first[:axis], size, *first[axis + 1 :]))


@_register("Flatten", axis=setting.axis(1), end_axis=setting.axis())
def _flatten(given: Given) -> Found:
    (shape,), settings = given.shapes, given.settings
    settings.end_axis = len(shape) - 1 if settings.end_axis is None else settings.end_axis
    start, end = settings.axis, settings.end_axis
    expect(start <= end < len(shape), f"axes {start} to {end} of {len(shape)}", "axes of the input")
    return Found(settings, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


@_register("Reshape", dims=setting.sizes(()), start=setting.axis(0), end=setting.axis())
def _reshape(given: Given) -> Found:
    """0 keeps an axis, and one -1 is what is left; ``start`` and ``end`` are the axes that are replaced."""
    (shape,), settings = given.shapes, given.settings
    settings.end = len(shape) if settings.end is None else settings.end
    start, end, dims = settings.start, settings.end, settings.dims
    keeps = [start + index for index, size in enumerate(dims) if size == 0]
    fits = start <= end <= len(shape) and bool(dims) and max(keeps, default=0) < len(shape)
    expect(fits, f"shape {dims} for axes {start} to {end} of {list(shape)}", "sizes, in place of axes of the input")
    made = [*shape[:start], *(size or shape[start + i] for i, size in enumerate(dims)), *shape[end:]]
    known = math.prod(size for size in made if size > 0)
    if -1 in made:
        made[made.index(-1)] = math.prod(shape) // known
    expect(math.prod(made) == math.prod(shape) and min(made) > 0, f"shape {dims} for {list(shape)}", "as many entries")
    return Found(settings, tuple(made))


@_register("GlobalMean", keeps_axes=setting.flag(False))
def _global_mean(given: Given) -> Found:
    shape = _plane_of(given)
    return Found(given.settings, (*shape[:2], 1, 1) if given.settings.keeps_axes else shape[:2])


def _plane_of(given: Given) -> Shape:
    """Returns the shape of an input of (n, channels, height, width)."""
    (shape,) = given.shapes
    expect(len(shape) == 4, f"an input of shape {list(shape)}", "4 axes")
    return shape


@_register(
    "Pooling", method=setting.choice("MAX", "AVE"), kernel=setting.windows(1), stride=setting.windows(1),
    pad=setting.windows(0, 0), ceil_mode=setting.flag(True),
)  # fmt: skip
def _pooling(given: Given) -> Found:
    shape, settings = _plane_of(given), given.settings
    plane = shape[2:]
    kernel = _spread(settings.kernel or plane, 2, "kernel")
    stride, pad = _spread(settings.stride or kernel, 2, "stride"), _spread(settings.pad, 2, "pad")
    fits = all(2 * side <= size for side, size in zip(pad, kernel, strict=True))
    expect(fits, f"pad {list(pad)} and kernel {list(kernel)}", "at most half of the kernel on each side")
    sizes = [_count(*axis, settings.ceil_mode) for axis in zip(plane, kernel, stride, pad, strict=True)]
    full = SimpleNamespace(
        method=settings.method, plane=plane, kernel=kernel, stride=stride, pad=pad, ceil_mode=settings.ceil_mode,
        margin=(), sizes=sizes,
    )  # fmt: skip
    return Found(full, (*shape[:2], *sizes))


@_register("Softmax", axis=setting.axis(1))
def _softmax(given: Given) -> Found:
    (shape,), axis = given.shapes, given.settings.axis
    expect(axis < len(shape), f"axis {axis} of {len(shape)}", "an axis of the input")
    return Found(given.settings, shape)


@_register(
    "LRN", size=setting.whole(1, default=5), alpha=setting.number(1.0), beta=setting.number(0.75),
    k=setting.number(1.0), across=setting.flag(True),
)  # fmt: skip
def _response(given: Given) -> Found:
    (shape,), settings = given.shapes, given.settings
    expect(settings.across, "windows in planes", "windows across channels")
    fits = settings.size % 2 == 1 and len(shape) == 4
    expect(fits, f"size {settings.size} for {list(shape)}", "an odd one, for 4 axes")
    return Found(settings, shape)


def _shown(shapes: Sequence[Shape]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes)
