"""The limits of an axis, within which most values can be distinguished."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_FEW, _FAR = 5, 4  # show all values if they are fewer; leave out values that make the range this many times larger


def useful_limits(values: Sequence[float], floor: float | None = None) -> tuple[float, float]:
    """Returns limits of an axis within which most values can be distinguished.

    The limits leave out a few values that are far off, such as the first test of an untrained net; without such
    values they include all.

    Args:
        values: the values drawn.
        floor: the smallest value that is possible, if there is one. The axis begins with it, unless all values would
            then be in its upper half.
    """
    finite = np.array([value for value in values if np.isfinite(value)])
    if not len(finite):
        return (0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if len(finite) >= _FEW:
        least = float(np.quantile(finite, 0.1, method="higher"))
        if high - low > _FAR * (high - least):
            low = least - 0.3 * (high - least)
        most = float(np.quantile(finite, 0.9, method="lower"))
        if high - low > _FAR * (most - low):
            high = most + 0.3 * (most - low)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    lowest = floor if floor is not None and low - floor <= high - low else low - margin
    return lowest, high + margin
