"""The least that pruning leaves in a layer, and which layers have hardly anything left."""

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
    """Returns a floor: the least share that is kept in any layer.

    Raises:
        MethodError: it is no share, or contradicts a target; the default does not, it gives way.
    """
    found = settings.share("floor", floor)
    for target in targets:
        if found > max(FLOOR, 1 - target) + _ROUNDING:
            raise MethodError(
                f"floor is {found:g}; expected at most {1 - target:g}, the share that sparsity {target:g} keeps"
            )
    return found


def most(entries: Sequence[int], target: int, floor: float) -> list[int]:
    """Returns how many entries may be cut in each layer, so that ``target`` of all can still be cut.

    Args:
        entries: of each layer.
        target: how many are to be cut in all.
        floor: the least share that is kept in any of them, as far as the target allows.
    """
    total = sum(entries)
    kept = [math.ceil(floor * number) for number in entries]
    if sum(kept) > total - target:
        kept = [number * (total - target) // total for number in entries]
    return [number - least for number, least in zip(entries, kept, strict=True)]


def is_dying(total: int, kept: int, target: float | None) -> bool:
    """Returns whether a layer has less than 1 % left, and less than its target says.

    Args:
        total: entries of the layer.
        kept: those that are left.
        target: the share of zeros that was asked for; None where a threshold was.
    """
    least = _DYING if target is None else min(_DYING, 1 - target)
    return kept < least * total * (1 - 1e-9)  # as many as it says are enough, whatever 1 - target is in floats


def warn(kept: Mapping[str, tuple[int, int]], method: str) -> None:
    """Warns of layers that a decision leaves with hardly anything.

    Args:
        kept: name -> entries that are left, and of how many.
        method: its name.
    """
    if kept:
        warnings.warn(
            f"{method} leaves {said(kept)}; exclude what must live, or set floor, the least share kept in any layer",
            stacklevel=2,
        )


def said(kept: Mapping[str, tuple[int, int]]) -> str:
    """Returns the names with what is left of them."""
    return ", ".join(f"{left:,} of {total:,} weights of {name}" for name, (left, total) in kept.items())
