"""What surgery and magnitude pruning share: targets, the thresholds that reach them, and what is never cut."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from demitasse.errors import MethodError
from demitasse.methods import exchange, floors, ranking, selection, settings, shards
from demitasse.methods.exchange import CUT, Boundary, Scales
from demitasse.methods.method import Method
from demitasse.methods.ranking import Ranked
from demitasse.methods.records import FREE, PRUNED, Record
from demitasse.methods.report import Row
from demitasse.methods.schedule import Ramp

Scope = Literal["global", "layer"]
Numbers = float | Mapping[selection.Pattern, float]
Named = TypeVar("Named", Record, Row)
# a layer with a larger share of zeros was pruned before
_SPARSE = 0.1


class Pruning(Method):
    """A method that sets entries to zero up to a target, smallest magnitudes first.

    Attributes:
        targets: name -> share of zeros in the end; empty where thresholds are given otherwise.
        thresholds: name -> the last threshold, in units of the weights.
        floor: the least share that is kept in any layer.
        zeros: name -> zeros that the parameter had when the method was attached, and keeps.
        apart: names of parameters that were nothing but zeros then, such as LoRA's B. Their magnitudes say nothing
            beside those of others, so each gets the sparsity for itself.
    """

    kind = "pruning"
    optional = ("pruned", "apart", "threshold")
    by = "sparsity"  # the setting that says how much is cut

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer] | None,
        values: Numbers,
        parameters: Sequence[selection.Pattern] | None,
        exclude: Sequence[selection.Pattern],
        scope: Scope,
        ramp: Ramp,
        floor: float,
        keep_zeros: bool | None,
        seed: int,
    ) -> None:
        settings.one_of("scope", scope, ("global", "layer"))
        if keep_zeros is not None:
            settings.flag("keep_zeros", keep_zeros)
        if isinstance(values, Mapping):
            settings.module("model", model)
            selection.check_patterns(model, self.by, values)
            parameters = list(values) if parameters is None else parameters
        self.ramp, self.floor = ramp, floor
        self.thresholds: dict[str, float] = {}
        self.targets: dict[str, float] = {}
        self._given = values
        self.zeros: dict[str, int] = {}
        self.apart: set[str] = set()
        self._warned: set[str] = set()  # layers that were warned of
        self._told: set[str] = set()  # those that take no gradient any more and were looked at
        # one threshold for all only where they have one target, too
        self._together = scope == "global" and self.by == "sparsity" and not isinstance(values, Mapping)
        super().__init__(model, optimizer, parameters, exclude, seed)
        self._values = self._values_by_name()
        for record in self.records.values():
            self._look_at_zeros(record, keep_zeros)
        if len(self.apart) == len(self.records):
            self.apart.clear()  # there are no others

    def check_chosen(self, chosen: Sequence[selection.Chosen]) -> None:
        if not selection.assign(chosen, self._given):
            raise MethodError(f"{self.by} has a value for none of the chosen parameters ({chosen[0].name} and so on)")

    def check_beside(self, record: Record) -> None:
        super().check_beside(record)
        if record.has_frozen:
            names = " and ".join(type(method).__name__ for method in record.methods)
            raise MethodError(
                f"{record.name} is being frozen by {names}, so that {type(self).__name__} could cut nothing; prune "
                "first, to the end of the ramp, and then quantize"
            )

    def check_freezing(self, record: Record) -> None:
        if self.iteration <= self.ramp.end and self.targets.get(record.name) != 0:
            raise MethodError(
                f"{record.name} would be frozen before {type(self).__name__} has cut what it was to cut: step "
                f"{self.iteration:,}, and it is done after step {self.ramp.end + 1:,}; prune first, to the end of the "
                "ramp, and then quantize"
            )

    def _values_by_name(self) -> dict[str, float]:
        """Returns name -> value of the chosen parameters; those that no pattern matches are let go."""
        found = selection.assign([record.chosen for record in self.records.values()], self._given)
        for name in [name for name in self.records if name not in found]:
            record = self.records.pop(name)
            self._release(record)
            self.dense.append(selection.Dense(name, record.parameter.numel(), "no value is given for it"))
        return found

    def _look_at_zeros(self, record: Record, keep: bool | None) -> None:
        """Keeps the zeros of a layer that was pruned before; sees which have nothing else."""
        total = record.parameter.numel()
        zeros = total - record.nonzero()
        if zeros == total and total and not keep:
            self.apart.add(record.name)
        elif zeros and (keep or (keep is None and zeros > _SPARSE * total)):
            self.zeros[record.name] = zeros
            record.set_status(torch.where((record.values == 0) & (record.status == FREE), PRUNED, record.status).byte())

    def cut_to_target(self, scales: Scales, state: int = CUT, skip: Tensor | None = None) -> None:
        """Cuts so much of every group of parameters that it has the share of zeros that is due at this step."""
        share = self.ramp.share(self.iteration)
        self._warn_of_resting()
        left: dict[str, int] = {}
        for group in self._groups([record for record in self.records.values() if record.is_live]):
            entries = [record.parameter.numel() for record in group]
            target = math.floor(share * self.targets[group[0].name] * sum(entries) + 0.5)
            if target:
                left |= self.cut_smallest(group, target, scales, state, skip)
        self._warn(left)

    def _groups(self, items: Sequence[Named]) -> list[list[Named]]:
        """Returns the records or rows that have one target together, and each of the others alone."""
        together: list[Named] = [item for item in items if self._together and item.name not in self.apart]
        groups = [together] if together else []
        groups.extend([item] for item in items if not self._together or item.name in self.apart)
        return groups

    def _resting(self) -> list[str]:
        """Returns the names of what takes no gradient any more, so that it is cut no further; frozen values aside."""
        records = self.records.values()
        return [one.name for one in records if not one.parameter.requires_grad and not one.has_frozen]

    def _held_back(self, rows: Sequence[Row]) -> str:
        """Says which parameters rest before their target is reached; empty where none does."""
        resting = self._resting()
        unmet = [row for group in self._groups(rows) if not _is_met(group) for row in group if row.name in resting]
        shares = [f"{row.name} ({row.sparsity:.2%} zeros)" for row in unmet]
        return f"{', '.join(shares)} cannot be pruned further: no gradient is taken any more" if unmet else ""

    def _warn_of_resting(self) -> None:
        """Warns once of every parameter that rests before its target is reached."""
        if self._told.issuperset(resting := self._resting()):
            return
        self._told.update(resting)
        if held_back := self._held_back(self.rows()):
            warnings.warn(f"{type(self).__name__} misses its target: {held_back} (requires_grad)", stacklevel=2)

    def cut_smallest(
        self, group: Sequence[Record], target: int, scales: Scales, state: int = CUT, skip: Tensor | None = None
    ) -> dict[str, int]:
        """Cuts the smallest entries of a group of parameters, and returns how many are left in each.

        Raises:
            MethodError: a weight is not finite.
        """
        entries = [record.parameter.numel() for record in group]
        parts = [Ranked(one.parameter, one.values, one.status, one.hold(), scales) for one in group]
        found = ranking.smallest(parts, entries, target, floors.most(entries, target, self.floor))
        for record, boundary in zip(group, found, strict=True):
            if boundary.endless:
                raise _diverged(record, boundary.endless)
        for record, boundary in zip(group, found, strict=True):
            self.cut(record, scales, boundary, state, skip)
        return {
            record.name: number - boundary.small for record, number, boundary in zip(group, entries, found, strict=True)
        }

    def cut_up_to(self, bounds: Mapping[str, float], scales: Scales, skip: Tensor | None = None) -> None:
        """Cuts every parameter up to a bound of its own, but not below the floor.

        Raises:
            MethodError: a weight is not finite.
        """
        self._warn_of_resting()
        left: dict[str, int] = {}
        for name in bounds:
            _check_finite(self.records[name])
        for name, bound in bounds.items():
            record = self.records[name]
            self.cut(record, scales, Boundary(bound), CUT, skip)
            number = record.parameter.numel()
            left[name], least = record.count(FREE), math.ceil(self.floor * number)
            if left[name] < least:
                left |= self.cut_smallest([record], number - least, scales, CUT, skip)
        self._warn(left)

    def cut(
        self, record: Record, scales: Scales, boundary: Boundary, state: int = CUT, skip: Tensor | None = None
    ) -> None:
        """Cuts what is small and brings back what is not; see :func:`demitasse.methods.exchange.cut`."""
        self.thresholds[record.name] = boundary.bound
        exchange.cut(record.values, record.status, record.hold(), scales, boundary, state, skip)
        record.seen()

    def _warn(self, left: Mapping[str, int]) -> None:
        """Warns once of every layer that has hardly anything left."""
        dying = {}
        for name, kept in left.items():
            total = self.records[name].parameter.numel()
            if self._is_dying(name, total, kept) and name not in self._warned:
                dying[name] = kept, total
        self._warned |= dying.keys()
        floors.warn(dying, type(self).__name__)

    def _is_dying(self, name: str, total: int, kept: int) -> bool:
        # a layer lives without its biases
        return self.records[name].parameter.ndim > 1 and floors.is_dying(total, kept, self.targets.get(name))

    def saved_zeros(self, record: Record) -> dict[str, Tensor]:
        """Returns what a state says of zeros from before, and of the threshold, which the report names.

        Which entries are pruned for good, what is apart, and the last threshold, where there was one.
        """
        found: dict[str, Tensor] = {}
        if record.name in self.zeros:
            found["pruned"] = shards.like(record.parameter, (record.status == PRUNED).contiguous())
        if record.name in self.apart:
            found["apart"] = torch.tensor(True)
        if record.name in self.thresholds:
            found["threshold"] = torch.tensor(self.thresholds[record.name], dtype=torch.float64)
        return found

    def take_zeros(self, record: Record, saved: Mapping[str, Tensor]) -> None:
        """Takes back what :meth:`saved_zeros` gave; a state without it has neither."""
        self.zeros.pop(record.name, None)
        self.apart.discard(record.name)
        self.thresholds.pop(record.name, None)
        if "threshold" in saved:
            self.thresholds[record.name] = float(saved["threshold"])
        if "pruned" in saved:
            pruned = self._part(record, "pruned", saved["pruned"])
            self.zeros[record.name] = int(shards.total(record.parameter, torch.count_nonzero(pruned)))
        if "apart" in saved:
            self.apart.add(record.name)

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

    def notes(self, rows: Sequence[Row]) -> tuple[str, ...]:
        found = []
        done = self.iteration - self.ramp.begin
        if self.targets and done < self.ramp.steps:
            found.append(f"the targets are not reached yet: step {max(done, 0):,} of a ramp of {self.ramp.steps:,}")
        if held_back := self._held_back(rows):
            found.append(f"the target is not reached: {held_back}")
        if self.zeros:
            shares = [
                f"{name} ({zeros / self.records[name].parameter.numel():.0%})" for name, zeros in self.zeros.items()
            ]
            found.append(f"zeros from before are kept (keep_zeros): {', '.join(shares)}")
        dying = {row.name: (row.kept, row.total) for row in rows if self._is_dying(row.name, row.total, row.kept)}
        if dying:
            found.append(f"hardly anything is left: {floors.said(dying)}")
        return tuple(found)


def _check_finite(record: Record) -> None:
    """Raises MethodError where weights, those that are cut among them, are not finite, in all processes alike."""
    ends = [torch.stack(tensor.aminmax()) for tensor in (record.values, record.hold()) if tensor.numel()]
    bad = torch.tensor(any(not bool(torch.isfinite(pair).all()) for pair in ends), device=record.values.device)
    if int(shards.total(record.parameter, bad.long())):
        either = ~(torch.isfinite(record.values) & torch.isfinite(record.hold()))
        raise _diverged(record, int(shards.total(record.parameter, torch.count_nonzero(either))))


def _diverged(record: Record, count: int) -> MethodError:
    return MethodError(f"{count:,} weights of {record.name} are not finite; the run diverged")


def _is_met(group: Sequence[Row]) -> bool:
    """Whether parameters have as many zeros as their target says, or any where it is a threshold."""
    entries, kept = sum(row.total for row in group), sum(row.kept for row in group)
    target = group[0].target
    return kept < entries if target is None else entries - kept >= math.floor(target * entries + 0.5)
