"""The base class of surgery and magnitude pruning: targets, thresholds that reach them, and what is never cut."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from demitasse.errors import MethodError
from demitasse.methods import exchange, floors, ranking, selection, settings, shards
from demitasse.methods.exchange import CUT, Boundary, Scales
from demitasse.methods.method import Method
from demitasse.methods.ranking import Ranked
from demitasse.methods.records import FREE, PRUNED, Record
from demitasse.methods.report import ParameterRow
from demitasse.methods.schedule import Ramp

Scope = Literal["global", "layer"]
Numbers = float | Mapping[selection.Pattern, float]
Named = TypeVar("Named", Record, ParameterRow)
# a layer with a larger share of zeros was pruned before
_SPARSE = 0.1


class Pruning(Method):
    """A method that sets entries to zero up to a target, smallest magnitudes first.

    Attributes:
        targets: name -> final share of zeros; empty if thresholds are given by ``c_rate``.
        thresholds: name -> the last threshold, in units of the weights.
        floor: the least share to keep in each layer.
        zeros: name -> number of zeros that the parameter had when the method was attached, and keeps.
        apart: names of parameters that were all zeros then, such as LoRA's B. Their magnitudes cannot be compared
            with those of others, so each of them gets the sparsity on its own.
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
        self._warned: set[str] = set()  # layers that a warning has named
        self._checked_resting: set[str] = set()  # checked parameters that no longer require a gradient
        # one threshold for all only if they have one target, too
        self._together = scope == "global" and self.by == "sparsity" and not isinstance(values, Mapping)
        super().__init__(model, optimizer, parameters, exclude, seed)
        self._values = self._values_by_name()
        for record in self.records.values():
            self._find_zeros(record, keep_zeros)
        if len(self.apart) == len(self.records):
            self.apart.clear()  # there is nothing to compare with

    @override
    def check_chosen(self, chosen: Sequence[selection.Chosen]) -> None:
        if not selection.assign(chosen, self._given):
            raise MethodError(f"{self.by} has a value for none of the chosen parameters ({chosen[0].name} and so on)")

    @override
    def check_compatible(self, record: Record) -> None:
        super().check_compatible(record)
        if record.has_frozen:
            names = " and ".join(type(method).__name__ for method in record.methods)
            raise MethodError(
                f"{names} is freezing {record.name}, so {type(self).__name__} could cut nothing; prune first, to the "
                "end of the ramp, and then quantize"
            )

    @override
    def check_freezing(self, record: Record) -> None:
        if self.iteration <= self.ramp.end and self.targets.get(record.name) != 0:
            raise MethodError(
                f"{record.name} would be frozen at step {self.iteration:,}, before {type(self).__name__} has reached "
                f"its target, at step {self.ramp.end + 1:,}; prune first, to the end of the ramp, and then quantize"
            )

    def _values_by_name(self) -> dict[str, float]:
        """Returns name -> value of the chosen parameters; releases those that no pattern matches."""
        found = selection.assign([record.chosen for record in self.records.values()], self._given)
        self.keep_those_in(found, self.by)
        return found

    def _find_zeros(self, record: Record, keep: bool | None) -> None:
        """Marks the zeros of a layer that was pruned before as pruned; notes layers that are all zeros."""
        total = record.parameter.numel()
        zeros = total - record.nonzero()
        if zeros == total and total and not keep:
            self.apart.add(record.name)
        elif zeros and (keep or (keep is None and zeros > _SPARSE * total)):
            self.zeros[record.name] = zeros
            record.set_status(torch.where((record.values == 0) & (record.status == FREE), PRUNED, record.status).byte())

    def cut_to_target(self, scales: Scales, state: int = CUT, skip: Tensor | None = None) -> None:
        """Cuts every group of parameters to the share of zeros that the ramp requires at this step."""
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
        """Returns the records or rows in groups that share a target: those with one target together, others alone."""
        together: list[Named] = [item for item in items if self._together and item.name not in self.apart]
        groups = [together] if together else []
        groups.extend([item] for item in items if not self._together or item.name in self.apart)
        return groups

    def _resting(self) -> list[str]:
        """Returns the names of parameters that no longer require a gradient, unless a method freezes them."""
        records = self.records.values()
        return [one.name for one in records if not one.parameter.requires_grad and not one.has_frozen]

    def _held_back(self, rows: Sequence[ParameterRow]) -> str:
        """Returns which parameters cannot reach their target, for a message; empty if all can."""
        resting = self._resting()
        unmet = [row for group in self._groups(rows) if not _is_met(group) for row in group if row.name in resting]
        shares = [f"{row.name} ({row.sparsity:.2%} zeros)" for row in unmet]
        return f"{', '.join(shares)} cannot be pruned further without a gradient" if unmet else ""

    def _warn_of_resting(self) -> None:
        """Warns once of each parameter that cannot reach its target."""
        if self._checked_resting.issuperset(resting := self._resting()):
            return
        self._checked_resting.update(resting)
        if held_back := self._held_back(self.rows()):
            warnings.warn(f"{type(self).__name__} misses its target: {held_back} (requires_grad)", stacklevel=2)

    def cut_smallest(
        self, group: Sequence[Record], target: int, scales: Scales, state: int = CUT, skip: Tensor | None = None
    ) -> dict[str, int]:
        """Cuts the smallest entries of a group of parameters.

        Args:
            group: the parameters.
            target: number of zeros in the group afterwards.
            scales: factors of the magnitudes, see :class:`demitasse.methods.exchange.Scales`.
            state: the state of cut entries, CUT or PRUNED.
            skip: see :meth:`decide`.

        Returns:
            name -> number of entries that are kept.

        Raises:
            MethodError: a weight is not finite.
        """
        entries = [record.parameter.numel() for record in group]
        parts = [Ranked(one.parameter, one.values, one.status, one.ensure_reserve(), scales) for one in group]
        found = ranking.smallest(parts, entries, target, floors.most(entries, target, self.floor))
        for record, boundary in zip(group, found, strict=True):
            if boundary.nonfinite:
                raise _diverged(record, boundary.nonfinite)
        for record, boundary in zip(group, found, strict=True):
            self.cut(record, scales, boundary, state, skip)
        return {
            record.name: number - boundary.small for record, number, boundary in zip(group, entries, found, strict=True)
        }

    def cut_up_to(self, bounds: Mapping[str, float], scales: Scales, skip: Tensor | None = None) -> None:
        """Cuts every parameter up to its own bound, but keeps the share of the floor.

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
        """Cuts small entries and splices back others; see :func:`demitasse.methods.exchange.cut`."""
        self.thresholds[record.name] = boundary.bound
        exchange.cut(record.values, record.status, record.ensure_reserve(), scales, boundary, state, skip)
        record.note_version()

    def _warn(self, left: Mapping[str, int]) -> None:
        """Warns once of each layer that has hardly any weights left."""
        dying = {}
        for name, kept in left.items():
            total = self.records[name].parameter.numel()
            if self._is_dying(name, total, kept) and name not in self._warned:
                dying[name] = kept, total
        self._warned |= dying.keys()
        remedy = "exclude such a layer, or set floor, the least share kept in any layer"
        floors.warn(dying, type(self).__name__, remedy)

    def _is_dying(self, name: str, total: int, kept: int) -> bool:
        # a layer works without its biases
        return self.records[name].parameter.ndim > 1 and floors.is_dying(total, kept, self.targets.get(name))

    def zeros_state(self, record: Record) -> dict[str, Tensor]:
        """Returns what a state holds about earlier zeros and the last threshold, where the parameter has them."""
        found: dict[str, Tensor] = {}
        if record.name in self.zeros:
            found["pruned"] = shards.like(record.parameter, (record.status == PRUNED).contiguous())
        if record.name in self.apart:
            found["apart"] = torch.tensor(True)
        if record.name in self.thresholds:
            found["threshold"] = torch.tensor(self.thresholds[record.name], dtype=torch.float64)
        return found

    def load_zeros_state(self, record: Record, saved: Mapping[str, Tensor]) -> None:
        """Restores what :meth:`zeros_state` returned."""
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

    @override
    def rows(self) -> list[ParameterRow]:
        return [
            ParameterRow(
                name,
                tuple(record.parameter.shape),
                record.parameter.numel(),
                record.nonzero(),
                self.targets.get(name),
                self.thresholds.get(name),
            )
            for name, record in self.records.items()
        ]

    @override
    def notes(self, rows: Sequence[ParameterRow]) -> tuple[str, ...]:
        found = []
        done = self.iteration - self.ramp.begin
        if self.targets and done < self.ramp.steps:
            found.append(f"the targets are not reached yet: step {max(done, 0):,} of {self.ramp.steps:,} of the ramp")
        if held_back := self._held_back(rows):
            found.append(f"the target is not reached: {held_back}")
        if self.zeros:
            shares = [
                f"{name} ({zeros / self.records[name].parameter.numel():.0%})" for name, zeros in self.zeros.items()
            ]
            found.append(f"earlier zeros are kept (keep_zeros): {', '.join(shares)}")
        dying = {row.name: (row.kept, row.total) for row in rows if self._is_dying(row.name, row.total, row.kept)}
        if dying:
            found.append(f"hardly any weights are left: {floors.described(dying)}")
        return tuple(found)


def _check_finite(record: Record) -> None:
    """Raises MethodError in every process if a weight, kept or cut, is not finite."""
    ends = [torch.stack(tensor.aminmax()) for tensor in (record.values, record.ensure_reserve()) if tensor.numel()]
    bad = torch.tensor(any(not bool(torch.isfinite(pair).all()) for pair in ends), device=record.values.device)
    if int(shards.total(record.parameter, bad.long())):
        either = ~(torch.isfinite(record.values) & torch.isfinite(record.ensure_reserve()))
        raise _diverged(record, int(shards.total(record.parameter, torch.count_nonzero(either))))


def _diverged(record: Record, count: int) -> MethodError:
    return MethodError(f"{count:,} weights of {record.name} are not finite; the run diverged")


def _is_met(group: Sequence[ParameterRow]) -> bool:
    """Whether parameters have the zeros of their target, or any zeros if they have a threshold instead."""
    entries, kept = sum(row.total for row in group), sum(row.kept for row in group)
    target = group[0].target
    return kept < entries if target is None else entries - kept >= math.floor(target * entries + 0.5)
