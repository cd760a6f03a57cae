"""What surgery and magnitude pruning share: targets, and the thresholds that reach them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from demitasse.errors import MethodError
from demitasse.methods import counts, exchange, schedule, selection, shards
from demitasse.methods.exchange import CUT, Scales
from demitasse.methods.method import Method
from demitasse.methods.records import Record
from demitasse.methods.report import Row
from demitasse.methods.schedule import Ramp

Scope = Literal["global", "layer"]
Numbers = float | Mapping[selection.Pattern, float]


class Pruning(Method):
    """A method that sets entries to zero up to a target, smallest magnitudes first.

    Attributes:
        targets: name -> share of zeros in the end; empty where thresholds are given otherwise.
        thresholds: name -> the last threshold, in units of the weights.
    """

    kind = "pruning"

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer] | None,
        values: Numbers,
        parameters: Sequence[selection.Pattern] | None,
        exclude: Sequence[selection.Pattern],
        scope: Scope,
        ramp: Ramp,
        seed: int,
    ) -> None:
        if scope not in ("global", "layer"):
            raise MethodError(f"scope is {scope!r}; expected 'global' or 'layer'")
        if parameters is None and isinstance(values, Mapping):
            parameters = list(values)
        self.ramp = ramp
        self.thresholds: dict[str, float] = {}
        self.targets: dict[str, float] = {}
        # one threshold for all only where they have one target, too
        self._together = scope == "global" and not isinstance(values, Mapping)
        super().__init__(model, optimizer, parameters, exclude, seed)

    def targets_from(self, values: Numbers) -> dict[str, float]:
        """Returns name -> value of the chosen parameters; those that no pattern matches are let go."""
        found = selection.assign([record.chosen for record in self.records.values()], values)
        for name in [name for name in self.records if name not in found]:
            record = self.records.pop(name)
            self._release(record)
            self.dense.append(selection.Dense(name, record.parameter.numel(), "no value is given for it"))
        return found

    def cut_to_target(self, scales: Scales, state: int = CUT, skip: Tensor | None = None) -> None:
        """Cuts so much of every group of parameters that it has the share of zeros that is due at this step."""
        share = self.ramp.share(self.iteration)
        live = [record for record in self.records.values() if record.is_live]
        for group in [live] if self._together and live else [[record] for record in live]:
            total = sum(record.parameter.numel() for record in group)
            target = math.floor(share * self.targets[group[0].name] * total + 0.5)
            if target:
                bound = self._bound(group, target, scales)
                self.cut_up_to(group, scales, bound, state, skip)

    def _bound(self, group: Sequence[Record], target: int, scales: Scales) -> float:
        """Returns the magnitude up to which there are ``target`` entries in a group, over all shards."""

        def histogram(prefix: int, shift: int) -> Tensor:
            found = [
                shards.total(
                    record.parameter,
                    exchange.histogram(record.values, record.status, record.hold(), scales, prefix, shift),
                )
                for record in group
            ]
            return sum(part.to(found[0].device) for part in found[1:]) + found[0] if len(found) > 1 else found[0]

        return counts.kth_smallest(histogram, target)

    def cut_up_to(
        self, group: Sequence[Record], scales: Scales, bound: float, state: int = CUT, skip: Tensor | None = None
    ) -> None:
        """Cuts up to a bound and brings back what is above it; see :func:`demitasse.methods.exchange.cut_up_to`."""
        for record in group:
            self.thresholds[record.name] = bound
            exchange.cut_up_to(record.values, record.status, record.hold(), scales, bound, state, skip)
            record.seen()

    def rows(self) -> list[Row]:
        return [
            Row(
                name,
                tuple(record.parameter.shape),
                record.parameter.numel(),
                record.nonzero(),
                self.targets.get(name),
                self.thresholds.get(name),
            )
            for name, record in self.records.items()
        ]

    def notes(self) -> tuple[str, ...]:
        done = self.iteration - self.ramp.begin
        if self.targets and done < self.ramp.steps:
            return (f"the targets are not reached yet: step {max(done, 0):,} of a ramp of {self.ramp.steps:,}",)
        return ()


def checked_targets(values: Numbers) -> None:
    """Raises where a target has no meaning.

    Raises:
        MethodError: it is not a share from 0 to 1.
    """
    for value in values.values() if isinstance(values, Mapping) else [values]:
        schedule.share("sparsity", value)
