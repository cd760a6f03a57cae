"""Searches for targets of all layers that a model bears together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from demitasse.errors import MethodError
from demitasse.methods.layer_sensitivity import LayerSensitivity
from demitasse.methods.proposal import Proposal
from demitasse.methods.trial import Trial

Only = Literal["sparsity", "bits"] | None
STEPS = 12  # most evaluations of a search
_HALVINGS = 60
_HUGE = 1e300  # a tolerance above every finite metric


@dataclass(frozen=True)
class Search:
    """Makes proposals from what was measured of each layer alone.

    Args:
        layers: the measurements.
        dense: the metric of the unchanged model.
        trial: evaluates the model.
        only: proposes one of the two; None proposes all that was measured.
    """

    layers: Sequence[LayerSensitivity]
    dense: float
    trial: Trial
    only: Only = None

    def within(self, tolerance: float, progress: Callable[[int, int], None] | None = None) -> Proposal:
        """Returns the proposal of the largest shared tolerance with which the model stays within ``tolerance``.

        The search is along one number. From 1 on, the shared tolerance is this multiple of ``tolerance``, doubled as
        long as the model bears it; from 1 to 0 it falls to 0; and from 0 to -1 the targets are eased until nothing is
        changed.
        """
        best = self._proposal(0.0, 1.0, tolerance)  # the unchanged model, which needs no evaluation
        known: dict[str, float] = {_key(best): self.dense}
        most = _key(self._proposal(_HUGE, 0.0, tolerance))
        low, high, place = -1.0, math.inf, 1.0
        for step in range(STEPS):
            found = self._proposal(max(place, 0.0) * tolerance, max(-place, 0.0), tolerance, known)
            if progress:
                progress(step + 1, STEPS)
            if found.metric - self.dense <= tolerance:
                low, best = place, found
            else:
                high = place
            if _key(best) == most:
                break
            place = 2 * place if high == math.inf else (low + high) / 2
        return best

    def of_sparsity(self, sparsity: float) -> Proposal:
        """Returns the proposal of the least shared tolerance that gives this share of zeros, and measures it.

        Raises:
            MethodError: the sparsity is above the measured ones.
        """
        rises = [metric - self.dense for layer in self.layers for metric in layer.by_sparsity.values()]
        low, high = 0.0, max([0.0, *filter(math.isfinite, rises)])
        if (most := self._share(high)) < sparsity:
            raise MethodError(f"sparsity is {sparsity:g}, but the largest measured gives {most:.4g}")
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if self._share(middle) >= sparsity else (middle, high)
        return self._proposal(high, 0.0, None, {})

    def _share(self, tolerance: float) -> float:
        """Returns the share of zeros of all layers together."""
        zeros = sum(one.bearable_sparsity(self.dense, tolerance) * one.entries for one in self.layers)
        return zeros / sum(layer.entries for layer in self.layers)

    def _proposal(
        self, shared: float, eased: float, tolerance: float | None, known: dict[str, float] | None = None
    ) -> Proposal:
        """Returns the proposal of a shared tolerance; measures it unless ``known`` is None or has its metric."""
        sparsity, bits, unquantized = {}, {}, []
        for layer in self.layers:
            if layer.by_sparsity and self.only != "bits":
                sparsity[layer.name] = (1 - eased) * layer.bearable_sparsity(self.dense, shared)
            if layer.by_bits and self.only != "sparsity":
                widths = layer.bearable_bits(self.dense, shared)
                place = round(eased * len(widths))
                if place < len(widths):
                    bits[layer.name] = widths[place]
                else:
                    unquantized.append(layer.name)
        entries = {layer.name: layer.entries for layer in self.layers}
        found = Proposal(sparsity, bits, tuple(unquantized), self.dense, self.dense, tolerance, shared, eased, entries)
        if known is None:
            return found
        key = _key(found)
        if key not in known:
            known[key] = self.trial.metric(sparsity, bits)
        return found.with_metric(known[key])


def _key(proposal: Proposal) -> str:
    """Returns what is equal for proposals that change a model in the same way."""
    return repr((proposal.sparsity, proposal.bits))
