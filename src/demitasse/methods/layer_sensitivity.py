"""What was measured of one layer, and what it bears."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import takewhile


@dataclass(frozen=True)
class LayerSensitivity:
    """The sensitivity of one parameter.

    Attributes:
        name: as in the state_dict.
        entries: number of entries.
        by_sparsity: share of zeros -> the metric.
        by_bits: bits, sign and zero included -> the metric.
    """

    name: str
    entries: int
    by_sparsity: dict[float, float]
    by_bits: dict[int, float]

    def bearable_sparsity(self, dense: float, tolerance: float) -> float:
        """Returns the largest share of zeros at which this layer alone raises the metric by at most the tolerance.

        It is interpolated linearly between the measured ones; 0 if every one raises the metric by more.

        Args:
            dense: the metric of the unchanged model.
            tolerance: the largest rise, in units of the metric.
        """
        before, rise_before = 0.0, 0.0
        for sparsity, metric in sorted(self.by_sparsity.items()):
            rise = metric - dense
            if not rise <= tolerance:
                # an infinite metric ends the range, but cannot be interpolated
                part = (tolerance - rise_before) / (rise - rise_before) if rise_before < rise < math.inf else 0.0
                return before + max(part, 0.0) * (sparsity - before)
            before, rise_before = sparsity, rise
        return before

    def bearable_bits(self, dense: float, tolerance: float) -> list[int]:
        """Returns the widths at which this layer alone raises the metric by at most the tolerance, sorted.

        As with sparsities, the first measured width that raises it by more ends the range, from the widest down: that a
        narrower one does better than a wider one is chance.

        Args:
            dense: the metric of the unchanged model.
            tolerance: the largest rise, in units of the metric.
        """
        widest_first = sorted(self.by_bits.items(), reverse=True)
        return sorted(bits for bits, _ in takewhile(lambda found: found[1] - dense <= tolerance, widest_first))
