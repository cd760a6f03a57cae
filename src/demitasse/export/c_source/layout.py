"""How a net lies in RAM: bands of convolutions, and a place in the arena for each tensor and each band."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from demitasse.export.c_source.memory import Claim, offsets
from demitasse.export.c_source.net import CNet, CTensor, Pointwise, WeightedSum

# bytes of a sum
SUM_BYTES = 4
_BYTES = {"uint8_t": 1, "int8_t": 1, "int16_t": 2, "float": 4}


@dataclass
class ArenaLayout:
    """Where everything lies.

    Attributes:
        bands: operation -> rows of its result that are computed at once, of convolutions.
        tensors: number of a tensor with memory of its own -> its first byte; inputs and outputs are the caller's.
        sums: operation -> the first byte of its sums, of convolutions.
        size: bytes of the arena.
    """

    bands: dict[int, int]
    tensors: dict[int, int]
    sums: dict[int, int]
    size: int


def result_rows(operation: WeightedSum) -> int:
    """Returns the rows of the result of a convolution."""
    assert operation.windows
    return operation.pooling.windows.sizes[0] if operation.pooling else operation.windows.sizes[0]


def sums_of(operation: WeightedSum, band: int) -> int:
    """Returns how many sums a band of rows of the result needs."""
    assert operation.windows
    (height, width), pooling = operation.windows.sizes, operation.pooling
    rows = (band - 1) * pooling.windows.stride[0] + pooling.windows.kernel[0] if pooling else band
    return min(rows, height) * width


def laid_out(net: CNet, ctype: Callable[[int], str]) -> ArenaLayout:
    """Returns the layout with the smallest arena, and of these with the largest bands, which read weights less often.

    Args:
        net: the net.
        ctype: returns the type of a tensor's values.
    """
    bands = {index: 1 for index, each in enumerate(net.operations) if isinstance(each, WeightedSum) and each.windows}
    found = _placed(net, ctype, bands)
    for index in bands:
        operation = net.operations[index]
        assert isinstance(operation, WeightedSum)
        rows = result_rows(operation)
        for parts in range(1, rows):
            tried = _placed(net, ctype, {**bands, index: -(-rows // parts)})
            if tried.size <= found.size:
                bands, found = tried.bands, tried
                break
    return found


def _placed(net: CNet, ctype: Callable[[int], str], bands: dict[int, int]) -> ArenaLayout:
    callers = {*net.inputs.values(), *net.outputs.values()}
    tensors: dict[int, Claim] = {}
    for index, operation in enumerate(net.operations):
        for number in (operation.output, *operation.inputs):
            root = net.root(number)[0]
            if root not in callers:
                size = net.tensors[root].size * _BYTES[ctype(root)]
                tensors[root] = Claim(size, tensors[root].first if root in tensors else index, index)
    same = _in_place(net, tensors, ctype)
    for number, onto in same.items():
        first = tensors.pop(number)
        tensors[onto] = tensors[onto]._replace(first=min(first.first, tensors[onto].first))
    sums = {}
    for index, band in bands.items():
        operation = net.operations[index]
        assert isinstance(operation, WeightedSum)
        sums[index] = Claim(sums_of(operation, band) * SUM_BYTES, index, index)
    starts, size = offsets([*tensors.values(), *sums.values()])
    places = dict(zip(tensors, starts, strict=False))
    for number in same:
        places[number] = places[_last(same, number)]
    return ArenaLayout(bands, places, dict(zip(sums, starts[len(tensors) :], strict=True)), size)


def _last(same: dict[int, int], number: int) -> int:
    while number in same:
        number = same[number]
    return number


def _in_place(net: CNet, tensors: dict[int, Claim], ctype: Callable[[int], str]) -> dict[int, int]:
    """Returns tensors whose memory becomes that of the result that is made of them, value by value."""
    same: dict[int, int] = {}
    for index, operation in enumerate(net.operations):
        if isinstance(operation, Pointwise) or hasattr(operation, "signs"):
            for number in operation.inputs:
                fits = number in tensors and operation.output in tensors and tensors[number].last == index
                alike = fits and _alike(net.tensors[number], net.tensors[operation.output]) and number not in same
                if alike and ctype(number) == ctype(operation.output):
                    same[number] = operation.output
                    break
    return same


def _alike(one: CTensor, other: CTensor) -> bool:
    return one.size == other.size and one.home is None and other.home is None
