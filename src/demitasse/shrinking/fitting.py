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

_TRIES, _MORE_TRIES = 6, 6  # more if nothing fits yet
_CLOSE = 0.98  # share of the allowed bytes that is near enough
_AIM = 0.99  # share of them to aim at
# by how much weights are worth less than predicted, about, since others make up for their errors
_MADE_UP = 4.5
_FARTHEST = math.log(100)  # by how much a prediction may change a price
_HALVINGS = 16  # of the range of prices
_ALL = 0.99  # share of the bytes without a price from which on a lower price is predicted to change hardly anything
_SLOW = 0.1  # the least distance to the wanted size, as a logarithm, that is assumed after several tries
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
        curvature = target.curvature(powers.get(target.name))
        total += rate.bits(matrix, rate.steps(matrix, curvature, price, by_row), curvature, price) / 8
    return total


def rest(model: nn.Module, targets: list[ShrinkTarget], size: Callable[[nn.Module], int]) -> int:
    """Returns the bytes of the model's file if all weights of the targets were zero, and what makes up short."""
    before = {tensor: tensor.detach().clone() for target in targets for tensor in target.dependents}
    with torch.no_grad():
        try:
            for target in targets:
                target.item.parameter.zero_()
                target.shorten()
            return size(model)
        finally:
            for tensor, values in before.items():
                tensor.copy_(values)


def fitted_price(
    compressed: Callable[[float], int], predicted: Callable[[float], float], wanted: int
) -> tuple[float, int]:
    """Returns the lowest price found at which the compressed model fits, and its bytes.

    Args:
        compressed: compresses the dense model at a price and returns the bytes.
        predicted: returns about what they will be; falls with the price.
        wanted: the most bytes.

    Raises:
        SizeError: nothing fits; says the smallest size reached.
    """
    tried: dict[float, int] = {}
    price = _solved(predicted, min(_AIM * wanted, _ALL * predicted(_PRICES[0]))) / _MADE_UP
    for turn in range(_TRIES + _MORE_TRIES):
        tried[price] = compressed(price)
        fits = [one for one, size in tried.items() if size <= wanted]
        if fits and turn >= _TRIES - 1:
            break
        least = sorted(tried)[:2]
        is_all = len(least) == 2 and least[0] < least[1] / 2 and tried[least[0]] < min(1.005 * tried[least[1]], wanted)
        if fits and (tried[min(fits)] >= _CLOSE * wanted or is_all):
            break  # a lower price would not make the file larger
        price = _next_price(tried, predicted, _AIM * wanted)
    fits = [one for one, size in tried.items() if size <= wanted]
    if not fits:
        raise SizeError(
            f"max_bytes is {wanted:,}, but the smallest file reached has {min(tried.values()):,} bytes; "
            "the model is unchanged"
        )
    return min(fits), tried[min(fits)]


def _solved(bytes_at: Callable[[float], float], wanted: float) -> float:
    """Returns the price at which a falling function of it gives the wanted bytes, by bisection of its logarithm."""
    low, high = map(math.log, _PRICES)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if bytes_at(math.exp(middle)) > wanted else (low, middle)
    return math.exp(high)


def _next_price(tried: Mapping[float, int], predicted: Callable[[float], float], wanted: float) -> float:
    """Returns the price to try next.

    Between sizes on both sides, it is where a line through the nearest ones, all as logarithms, gives the wanted one.
    Else the nearest price moves by the factor that is predicted to make up for the difference, and at least about with
    the fourth power of the size, or much faster after several tries.
    """
    aim = math.log(wanted)
    points = sorted((math.log(price), math.log(size)) for price, size in tried.items())
    above = [point for point in points if point[1] > aim]
    below = [point for point in points if point[1] <= aim]
    if above and below:
        (first, large), (second, small) = above[-1], below[0]
        moved = first + max(0.1, min(0.9, (large - aim) / (large - small))) * (second - first)
    else:
        price, size = above[-1] if above else below[0]
        least = 4 * len(points) * math.copysign(max(abs(size - aim), _SLOW * (len(points) - 1)), size - aim)
        foreseen = math.log(_solved(predicted, wanted) / _solved(predicted, math.exp(size)))
        foreseen = min(max(foreseen, -_FARTHEST), _FARTHEST)
        moved = price + (max(least, foreseen) if above else min(least, foreseen))
    return math.exp(min(max(moved, math.log(_PRICES[0])), math.log(_PRICES[1])))
