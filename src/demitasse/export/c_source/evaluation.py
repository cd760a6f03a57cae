"""Computes the operations of a net on batches in NumPy, with the arithmetic that is given: floats, bounds, or integers.

All arithmetics work on float64, which holds every integer below 2^53 exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Protocol

import numpy as np

from demitasse.export.c_source.net import (
    Addition,
    CNet,
    COperation,
    GreatestPlace,
    Limits,
    PlanePooling,
    PlaneWindows,
    Pooling2d,
    WeightedSum,
)
from demitasse.graph.weights import Doubles


class Arithmetic(Protocol):
    """What operations compute; tensors are (n, channels, height, width)."""

    def weighted(self, operation: WeightedSum, x: Doubles) -> Doubles:
        """Returns the sums with limits applied, before pooling."""

    def pooled(self, pooling: Pooling2d, x: Doubles) -> Doubles:
        """Returns pooled planes."""

    def added(self, operation: Addition, inputs: Sequence[Doubles]) -> Doubles:
        """Returns the sum with limits applied."""

    def limited(self, operation: COperation, x: Doubles) -> Doubles:
        """Returns the values with limits applied."""


def evaluate(
    net: CNet,
    arithmetic: Arithmetic,
    inputs: Mapping[str, Doubles],
    watch: Callable[[int, Doubles], None] = lambda number, values: None,
) -> dict[str, Doubles]:
    """Returns the outputs by name, (n, channels, height, width).

    Args:
        net: the net.
        arithmetic: computes the operations.
        inputs: by name, (n, ...).
        watch: is called with the number and the values of each tensor, also with those that a mean is
            taken of.
    """
    values: dict[int, Doubles] = {}

    def note(number: int, made: Doubles) -> None:
        watch(number, made)
        home = net.tensors[number].home
        if home is None:
            values[number] = made
        else:
            whole = net.tensors[home[0]]
            shape = (len(made), whole.channels, *whole.plane)
            values.setdefault(home[0], np.zeros(shape))[:, home[1] : home[1] + made.shape[1]] = made
            values[number] = made

    for name, number in net.inputs.items():
        tensor = net.tensors[number]
        note(number, np.asarray(inputs[name], np.float64).reshape(-1, tensor.channels, *tensor.plane))
    for operation in net.operations:
        taken = [values[number] for number in operation.inputs]
        if isinstance(operation, WeightedSum):
            made = arithmetic.weighted(operation, taken[0])
            if operation.pooling:
                if operation.pooling.method == "AVE":  # means are smaller than what they are taken of
                    watch(operation.output, made)
                made = arithmetic.pooled(operation.pooling, made)
            note(operation.output, made)
        else:
            note(operation.output, _computed(arithmetic, operation, taken))
    return {name: values[number] for name, number in net.outputs.items()}


def _computed(arithmetic: Arithmetic, operation: COperation, inputs: list[Doubles]) -> Doubles:
    if isinstance(operation, PlanePooling):
        return arithmetic.pooled(operation.pooling, inputs[0])
    if isinstance(operation, Addition):
        return arithmetic.added(operation, inputs)
    if isinstance(operation, GreatestPlace):
        return _places(operation, inputs[0])
    return arithmetic.limited(operation, inputs[0])


def _places(operation: GreatestPlace, x: Doubles) -> Doubles:
    flat = x.reshape(len(x), -1)
    found = flat.shape[1] - 1 - flat[:, ::-1].argmax(1) if operation.last else flat.argmax(1)
    places: Doubles = found.astype(np.float64).reshape(-1, 1, 1, 1)
    return places


def products(operation: WeightedSum, weight: Doubles, x: Doubles) -> Doubles:
    """Returns the sums of products of a weight of the operation's shape, (n, outputs, height, width)."""
    windows = operation.windows
    if windows is None:
        return (x.reshape(len(x), -1) @ weight.T)[:, :, None, None]
    parts = []
    padded = _padded(x, windows, 0.0)
    for rows, planes in zip(
        np.split(weight, operation.groups), np.split(padded, operation.groups, axis=1), strict=True
    ):
        columns = _windows(planes, windows)
        parts.append(np.einsum("nchwyx,ocyx->nohw", columns, _kernels(rows, windows), optimize=True))
    return np.concatenate(parts, 1)


def _kernels(rows: Doubles, windows: PlaneWindows) -> Doubles:
    return rows.reshape(len(rows), -1, *windows.kernel)


def _padded(x: Doubles, windows: PlaneWindows, fill: float) -> Doubles:
    """Returns the planes with what windows see around them, also over the far edges."""
    ends = [
        max((size - 1) * stride + reach - length - pad, 0)
        for length, reach, stride, pad, size in zip(
            windows.plane, windows.reach, windows.stride, windows.pad, windows.sizes, strict=True
        )
    ]
    (top, left), (bottom, right) = windows.pad, ends
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)


def _windows(padded: Doubles, windows: PlaneWindows) -> Doubles:
    """Returns (n, channels, height, width, kernel height, kernel width), a view."""
    views = np.lib.stride_tricks.sliding_window_view(padded, windows.reach, axis=(2, 3))
    (down, across), (height, width), (apart, beside) = windows.stride, windows.sizes, windows.dilation
    return views[:, :, ::down, ::across, ::apart, ::beside][:, :, :height, :width]


def greatest(pooling: Pooling2d, x: Doubles) -> Doubles:
    """Returns the maximum of each window, of what lies in the plane."""
    windows = pooling.windows
    found: Doubles = _windows(_padded(x, windows, -np.inf), windows).max((-2, -1))
    return found


def totals(pooling: Pooling2d, x: Doubles) -> Doubles:
    """Returns the sum of each window."""
    windows = pooling.windows
    found: Doubles = _windows(_padded(x, windows, 0.0), windows).sum((-2, -1))
    return found


def counts(windows: PlaneWindows) -> Doubles:
    """Returns by how many entries the mean of each window is divided, (height, width): padding counts, not more."""
    rows, columns = (
        np.minimum(np.arange(size) * stride + kernel, length + 2 * pad) - np.arange(size) * stride
        for length, kernel, stride, pad, size in zip(
            windows.plane, windows.kernel, windows.stride, windows.pad, windows.sizes, strict=True
        )
    )
    return (rows[:, None] * columns).astype(np.float64)


def limited(limits: Limits, x: Doubles) -> Doubles:
    """Returns the values with limits applied, in float64."""
    if limits.slopes is not None:
        x = np.where(x < 0, x * limits.slopes.reshape(-1, 1, 1), x)
    return np.clip(x, limits.low, limits.high)


def added(parts: Iterable[Doubles]) -> Doubles:
    """Returns the sum of at least one array."""
    return reduce(np.add, parts)


class FloatArithmetic:
    """Computes as the net does, in float64."""

    def weighted(self, operation: WeightedSum, x: Doubles) -> Doubles:
        """Returns the sums with limits applied, before pooling."""
        return limited(operation.limits, products(operation, operation.weight, x) + operation.bias[:, None, None])

    def pooled(self, pooling: Pooling2d, x: Doubles) -> Doubles:
        """Returns pooled planes."""
        return greatest(pooling, x) if pooling.method == "MAX" else totals(pooling, x) / counts(pooling.windows)

    def added(self, operation: Addition, inputs: Sequence[Doubles]) -> Doubles:
        """Returns the sum with limits applied."""
        return limited(operation.limits, added(sign * x for sign, x in zip(operation.signs, inputs, strict=True)))

    def limited(self, operation: COperation, x: Doubles) -> Doubles:
        """Returns the values with limits applied."""
        return limited(operation.limits, x)


class BoundArithmetic:
    """Computes bounds of all values: the first example of a batch has the least ones, the second the greatest."""

    def weighted(self, operation: WeightedSum, x: Doubles) -> Doubles:
        """Returns bounds of the sums, before pooling; zeros around a plane are within the bounds, too."""
        if operation.windows and any(operation.windows.pad):
            x = np.stack([np.minimum(x[0], 0), np.maximum(x[1], 0)])
        positive, negative = np.maximum(operation.weight, 0), np.minimum(operation.weight, 0)
        made = products(operation, positive, x) + products(operation, negative, x[::-1])
        return self._ordered(limited(operation.limits, made + operation.bias[:, None, None]))

    def pooled(self, pooling: Pooling2d, x: Doubles) -> Doubles:
        """Returns bounds of pooled planes."""
        return FloatArithmetic().pooled(pooling, x)

    def added(self, operation: Addition, inputs: Sequence[Doubles]) -> Doubles:
        """Returns bounds of the sum."""
        parts = zip(operation.signs, inputs, strict=True)
        return self._ordered(limited(operation.limits, added(x if sign > 0 else -x[::-1] for sign, x in parts)))

    def limited(self, operation: COperation, x: Doubles) -> Doubles:
        """Returns bounds of the values with limits applied."""
        made = limited(operation.limits, x)
        if not operation.limits.keeps_order:  # 0 may be between the bounds
            made[1] = np.maximum(made[1], np.where((x[0] < 0) & (x[1] > 0), 0, made[1]))
        return self._ordered(made)

    def _ordered(self, x: Doubles) -> Doubles:
        return np.sort(x, axis=0)
