"""Chooses how many bits the values of each tensor get, and what the unit is."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from demitasse.errors import ExportError
from demitasse.export.c_source.evaluation import BoundArithmetic, FloatArithmetic, evaluate
from demitasse.export.c_source.integers import IntegerNet, NumberFormat, TooLargeError
from demitasse.export.c_source.net import CNet, GreatestPlace, PlanePooling
from demitasse.export.c_source.twin import CTwin
from demitasse.graph.weights import Doubles

Ranges = dict[int, tuple[float, float]]
# calibration inputs that are tried for the choice between 8 and 16 bits
_TRIED = 64
# the greatest error of the outputs with 8 bits: root mean square, relative to that of the outputs
_ERROR = 0.02
# a unit may be larger by this power of two than the range alone asks for; and the least one, of which floats are made
_COARSEST, _LEAST = 250, -120


def calibrated(net: CNet, inputs: Mapping[str, Doubles], batch: int = 100) -> Ranges:
    """Returns the least and the greatest value of each tensor that occur for inputs, (n, ...) by name."""
    ranges: Ranges = {}

    def note(number: int, values: Doubles) -> None:
        low, high = ranges.get(number, (math.inf, -math.inf))
        ranges[number] = min(low, float(values.min())), max(high, float(values.max()))

    size = len(next(iter(inputs.values())))
    for start in range(0, size, batch):
        part = {name: values[start : start + batch] for name, values in inputs.items()}
        evaluate(net, FloatArithmetic(), part, note)
    return ranges


def bounded(net: CNet, low: float, high: float) -> Ranges:
    """Returns bounds of each tensor, for inputs in a range; real values are often much smaller."""
    ranges: Ranges = {}

    def note(number: int, values: Doubles) -> None:
        low, high = ranges.get(number, (math.inf, -math.inf))
        ranges[number] = min(low, float(values[0].min())), max(high, float(values[1].max()))

    shapes = {name: (1, net.tensors[number].size) for name, number in net.inputs.items()}
    ends = {name: np.concatenate([np.full(shape, low), np.full(shape, high)]) for name, shape in shapes.items()}
    evaluate(net, BoundArithmetic(), ends, note)
    return ranges


def chosen(net: CNet, ranges: Ranges, bits: int | None, inputs: Mapping[str, Doubles] | None) -> IntegerNet:
    """Returns the net in integers.

    Args:
        net: the net.
        ranges: of its tensors.
        bits: 8 or 16 for all tensors; None for 16, and for 8 where that changes the outputs for ``inputs`` by at most
            2 %, the large tensors first.
        inputs: calibration inputs by name.

    Raises:
        ExportError: weights are no powers of two, or sums are too large for any format.
    """
    groups = _groups(net)
    sizes = {
        group: sum(net.tensors[each].size for each in set(groups) if groups[each] == group) for group in set(groups)
    }
    wide = dict.fromkeys(sizes, bits or 16)
    made = _made(net, groups, ranges, wide)
    if bits or inputs is None:
        return made
    tried = {name: values[:_TRIED] for name, values in inputs.items()}
    wanted = {name: each.reshape(len(each), -1) for name, each in evaluate(net, FloatArithmetic(), tried).items()}
    for group in sorted(sizes, key=lambda each: -sizes[each]):
        narrow = _made(net, groups, ranges, {**wide, group: 8})
        if _error(narrow, tried, wanted) <= _ERROR:
            wide[group], made = 8, narrow
    return made


def _error(net: IntegerNet, inputs: Mapping[str, Doubles], wanted: Mapping[str, Doubles]) -> float:
    """Returns the greatest relative error of an output, as root mean square."""
    found = CTwin(net)(inputs)
    worst = 0.0
    for name, expected in wanted.items():
        scores = found[name] * net.formats[net.net.outputs[name]].unit
        size = float(np.sqrt(np.mean(expected**2)))
        worst = max(worst, float(np.sqrt(np.mean((scores - expected) ** 2))) / (size or 1.0))
    return worst


def _groups(net: CNet) -> list[int]:
    """Returns the group of each tensor; those of a group share a format: pooled planes, and the parts of a whole."""
    groups = list(range(len(net.tensors)))

    def join(one: int, other: int) -> None:
        old, new = groups[one], groups[other]
        groups[:] = [new if each == old else each for each in groups]

    for number, tensor in enumerate(net.tensors):
        if tensor.home:
            join(number, tensor.home[0])
    for operation in net.operations:
        if isinstance(operation, PlanePooling):
            join(operation.output, operation.input)
    return groups


def _made(net: CNet, groups: list[int], ranges: Ranges, bits: Mapping[int, int]) -> IntegerNet:
    """Returns the net for a number of bits of each group, or fewer where sums would be too large."""
    coarser = dict.fromkeys(bits, 0)
    places = {
        each.output: net.tensors[each.input].size - 1 for each in net.operations if isinstance(each, GreatestPlace)
    }
    joined: dict[int, tuple[float, float]] = {}
    for number, (low, high) in ranges.items():
        before = joined.get(groups[number], (0.0, 0.0))
        joined[groups[number]] = min(before[0], low), max(before[1], high)
    while True:
        found = {group: _format(*joined.get(group, (0.0, 0.0)), bits[group], coarser[group]) for group in bits}
        try:
            formats = [found[group] for group in groups]
            for number, most in places.items():
                formats[number] = NumberFormat(0, 0, most)
            return IntegerNet.of(net, formats)
        except TooLargeError as error:
            blamed = groups[error.tensor]
            coarser[blamed] += 1
            if coarser[blamed] > _COARSEST:
                name = net.tensors[error.tensor].name
                raise ExportError(f"blob {name!r}: with any bits of its values, sums may exceed 32 bits") from error


def _format(low: float, high: float, bits: int, coarser: int) -> NumberFormat:
    """Returns the format with the least unit that holds a range, or one that is coarser by some bits."""
    least, most = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    if low >= 0 and bits == 8:
        least, most = 0, 255
    greatest = max(high / (most + 1), low / least if least else 0.0)
    exponent = math.ceil(math.log2(greatest)) if greatest > 0 else 0
    return NumberFormat(max(exponent, _LEAST) + coarser, least >> coarser if least else 0, most >> coarser)
