"""Finds the price of a bit at which a model's file has the size that was asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from demitasse.errors import SizeError
from demitasse.methods.one_shot import rate
from demitasse.methods.one_shot.layer import Per
from demitasse.shrinking.targets import ShrinkTarget

_TRIES = 6
_CLOSE = 0.98  # share of the allowed bytes that is near enough
_PRICES = 1e-30, 1e6  # the range of prices to consider


def predicted(targets: list[ShrinkTarget], powers: Mapping[str, Tensor], price: float, per: Per) -> float:
    """Returns about how many bytes the weights take at a price, without compensation.

    Args:
        targets: the targets.
        powers: name -> mean squares of the inputs, (groups, columns).
        price: what a bit costs.
        per: what has a step of its own.
    """
    total = 0.0
    for target in targets:
        matrix, by_row = target.matrix.double(), target.freedom.scale or per == "channel"
        step = rate.steps(matrix, target.curvature(powers.get(target.name)), price, by_row)
        total += rate.bits(matrix, step) / 8
    return total


def rest(model: nn.Module, targets: list[ShrinkTarget], size: Callable[[nn.Module], int]) -> int:
    """Returns the bytes of the model's file if all weights of the targets were zero."""
    with torch.no_grad():
        try:
            for target in targets:
                target.item.parameter.zero_()
            return size(model)
        finally:
            for target in targets:
                target.item.parameter.copy_(target.dense)


def first_price(bytes_at: Callable[[float], float], wanted: float) -> float:
    """Returns the price at which a falling function of it gives the wanted bytes, by bisection of its logarithm."""
    low, high = map(math.log, _PRICES)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if bytes_at(math.exp(middle)) > wanted else (low, middle)
    return math.exp(high)


def fitted_price(compressed: Callable[[float], int], price: float, wanted: int) -> tuple[float, int]:
    """Returns the lowest price found at which the compressed model fits, and its bytes.

    Args:
        compressed: compresses the dense model at a price and returns the bytes.
        price: the first price to try.
        wanted: the most bytes.

    Raises:
        SizeError: nothing fits; says the smallest size reached.
    """
    tried: dict[float, int] = {}
    for _ in range(_TRIES):
        tried[price] = compressed(price)
        fits = [one for one, size in tried.items() if size <= wanted]
        least = sorted(tried)[:2]
        is_all = len(least) == 2 and least[0] < least[1] / 2 and tried[least[0]] < 1.005 * tried[least[1]]
        if fits and (tried[min(fits)] >= _CLOSE * wanted or is_all):
            break  # a lower price would not make the file larger
        price = _next_price(tried, wanted)
    fits = [one for one, size in tried.items() if size <= wanted]
    if not fits:
        raise SizeError(
            f"max_bytes is {wanted:,}, but the smallest file reached has {min(tried.values()):,} bytes; "
            "the model is unchanged"
        )
    return min(fits), tried[min(fits)]


def _next_price(tried: Mapping[float, int], wanted: int) -> float:
    """Returns the price where a line through the nearest sizes, both as logarithms, gives 0.99 of the wanted one.

    Where all sizes are on one side, the price falls about with the fourth power of the size, or faster where it was
    far off.
    """
    aim = math.log(0.99 * wanted)
    points = sorted((math.log(price), math.log(size)) for price, size in tried.items())
    above = [point for point in points if point[1] > aim]
    below = [point for point in points if point[1] <= aim]
    if above and below:
        (first, large), (second, small) = above[-1], below[0]
        moved = first + max(0.1, min(0.9, (large - aim) / (large - small))) * (second - first)
    else:
        price, size = above[-1] if above else below[0]
        moved = price + 4 * len(points) * (size - aim)
    return math.exp(min(max(moved, math.log(_PRICES[0])), math.log(_PRICES[1])))
