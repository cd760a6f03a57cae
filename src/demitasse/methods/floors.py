"""The least share that pruning keeps in a layer, and warnings about layers with hardly any weights left."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence

from demitasse.errors import MethodError
from demitasse.methods import settings

FLOOR = 0.001
_DYING = 0.01


_ROUNDING = 1e-9  # 1 - 0.9 is a little less than 0.1


def checked(floor: object, targets: Iterable[float]) -> float:
    """Returns a floor, the least share to keep in each layer.

    Raises:
        MethodError: the floor is not a share, or exceeds the share that a target keeps (the default never does).
    """
    found = settings.share("floor", floor)
    for target in targets:
        if found > max(FLOOR, 1 - target) + _ROUNDING:
            raise MethodError(
                f"floor is {found:g}; expected at most {1 - target:g}, the share that sparsity {target:g} keeps"
            )
    return found


def most(entries: Sequence[int], target: int, floor: float) -> list[int]:
    """Returns the largest number of entries to cut in each layer, large enough to cut ``target`` in all.

    Args:
        entries: number of entries of each layer.
        target: number of entries to cut in all.
        floor: the least share to keep in each layer, as far as the target allows.
    """
    total = sum(entries)
    kept = [math.ceil(floor * number) for number in entries]
    if sum(kept) > total - target:
        kept = [number * (total - target) // total for number in entries]
    return [number - least for number, least in zip(entries, kept, strict=True)]


def is_dying(total: int, kept: int, target: float | None) -> bool:
    """Returns whether a layer keeps less than 1 % of its entries, and less than its target keeps.

    Args:
        total: number of entries of the layer.
        kept: number of entries it keeps.
        target: the requested share of zeros; None if there is a threshold instead.
    """
    least = _DYING if target is None else min(_DYING, 1 - target)
    return kept < least * total * (1 - _ROUNDING)


def warn(kept: Mapping[str, tuple[int, int]], method: str, remedy: str) -> None:
    """Warns of layers with hardly any weights left; does nothing if there are none.

    Args:
        kept: name -> (number of entries that are left, number of all entries).
        method: name of the method.
        remedy: what to do about it.
    """
    if kept:
        warnings.warn(f"{method} leaves {described(kept)}; {remedy}", stacklevel=3)


def described(kept: Mapping[str, tuple[int, int]]) -> str:
    """Returns what is left of each layer, for a message."""
    return ", ".join(f"{left:,} of {total:,} weights of {name}" for name, (left, total) in kept.items())
