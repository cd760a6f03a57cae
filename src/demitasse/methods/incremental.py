"""Incremental Network Quantization: freeze a share of the weights, train the rest, freeze more.

Reference: Zhou, Yao, Guo, Xu, Chen 2017, Incremental Network Quantization (arXiv 1702.03044), section 2.2.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from demitasse.errors import MethodError
from demitasse.methods import exchange, pow2, ranking, selection, settings, shards
from demitasse.methods.freezing import Portions, remaining
from demitasse.methods.method import Method
from demitasse.methods.ranking import Ranked
from demitasse.methods.records import CUT, FREE, FROZEN, PRUNED, Record
from demitasse.methods.report import ParameterRow

P = TypeVar("P", bound=selection.Pattern)

# the values of these settings
CHOICES = {"partition": ("magnitude", "random"), "per": ("tensor", "channel"), "fit": ("largest", "error")}


class IncrementalQuantization(Method):
    """Incremental Network Quantization on any module: freezes a share of the weights at powers of two, lets you train.

    Iterate over it: each turn freezes weights up to the next portion, and you train the others ::

        for portion in IncrementalQuantization(model, optimizer, bits=4):
            train(model, optimizer)

    Frozen weights are exactly powers of two, or zero, after every step of the optimizer. Weights that are zero or cut
    when freezing begins count as pruned and stay zero; the masks of surgery no longer change.

    Args:
        model: any module.
        optimizer: the optimizer or optimizers that train the model; the first one counts the steps.
        bits: bits of a code, sign and zero included, as in the paper: 2^(bits - 2) powers of two of each sign. One
            number for all chosen parameters, or a mapping of patterns to numbers, of which the first that matches
            counts; without ``parameters``, it also chooses the parameters, and the others stay as they are.
        exponents: instead of bits, the number of powers, or the pair of the least and the largest exponent.
        portions: the frozen share of the weights that are not pruned, after each turn; increasing, at most 1.
        partition: ``magnitude`` freezes the largest weights first, ``random`` a random choice.
        per: ``tensor`` for one grid for each parameter, ``channel`` for one for each output channel.
        fit: ``largest``: the grid ends at the largest weight, as in the paper; ``error``: the grid has the least
            squared error, and clips a few of the largest weights if it has few powers.
        parameters: what to quantize, see :func:`demitasse.methods.selection.select`.
        exclude: what to leave as it is.
        seed: for the random partition; a distributed run uses the seed of rank 0.

    Attributes:
        levels: name -> number of powers of two of each sign.
        stage: number of portions that are frozen.
        step: number of optimizer steps since the last portion was frozen.
        clipped: name -> number of values that had grown beyond the grid and were clipped to it.

    Raises:
        MethodError: a setting is invalid, a pattern matches nothing, or a parameter is already being quantized.

    Reference: Zhou 2017, algorithm 1. Grids of single channels and those of the least error are ours.
    """

    kind = "quantization"
    is_exact = True

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        *,
        bits: int | Mapping[selection.Pattern, int] | None = None,
        exponents: int | tuple[int, int] | None = None,
        portions: Sequence[float] = (0.5, 0.75, 0.9, 1.0),
        partition: Literal["magnitude", "random"] = "magnitude",
        per: Literal["tensor", "channel"] = "tensor",
        fit: Literal["largest", "error"] = "largest",
        parameters: Sequence[selection.Pattern] | None = None,
        exclude: Sequence[selection.Pattern] = (),
        seed: int = 0,
    ) -> None:
        self._given, self._top = levels_of(bits, exponents)
        if isinstance(bits, Mapping):
            settings.module("model", model)
            selection.check_patterns(model, "bits", bits)
            parameters = list(bits) if parameters is None else parameters
        self.portions = _increasing(portions)
        for name, value in (("partition", partition), ("per", per), ("fit", fit)):
            settings.one_of(name, value, CHOICES[name])
        self.partition, self.per, self.fit = partition, per, fit
        self.stage = self.step = 0
        self.clipped: dict[str, int] = {}
        self._is_open = False
        super().__init__(model, optimizer, parameters, exclude, seed)
        self.keep_those_in(self.levels, "bits")
        self._tops = {name: self._no_top(record) for name, record in self.records.items()}

    @override
    def check_chosen(self, chosen: Sequence[selection.Chosen]) -> None:
        self.levels = {name: int(levels) for name, levels in selection.assign(chosen, self._given).items()}
        if not self.levels:
            raise MethodError(f"bits has a value for none of the chosen parameters ({chosen[0].name} and so on)")
        for item in chosen:
            if item.name in self.levels:
                pow2.check_levels(self.levels[item.name], self._top, item.parameter.dtype, item.name)

    def _no_top(self, record: Record) -> Tensor:
        """Returns the largest exponents before freezing, unknown unless given: (1,) or (local channels,) int64."""
        axis = self._axis(record)
        size = 1 if axis is None else record.values.shape[axis]
        return torch.full((size,), _UNKNOWN if self._top is None else self._top, device=record.values.device)

    def _axis(self, record: Record) -> int | None:
        """Returns the axis that has a grid for each index; None if the parameter has one grid."""
        return record.chosen.channel_axis if self.per == "channel" and record.values.ndim > 0 else None

    def __iter__(self) -> Iterator[float]:
        """Freezes one portion after the other and yields it; after a load it continues in the current one."""
        if self._is_open:
            yield self.portions[self.stage - 1]
            self._is_open = False
        while self.stage < len(self.portions):
            self.freeze()
            yield self.portions[self.stage - 1]
            self._is_open = False

    def __len__(self) -> int:
        return len(self.portions)

    @torch.no_grad()
    def freeze(self) -> None:
        """Freezes up to the next portion, as iterating does.

        Raises:
            MethodError: all portions are frozen, a weight is not finite, an unknown optimizer stepped the module, or
                the given exponents are so large that every weight of a parameter would become 0.
        """
        if self.stage == len(self.portions):
            raise MethodError(f"all portions are frozen already, up to {self.portions[-1]:g}")
        self.check()
        for record in self.records.values():
            for other in record.methods:
                other.check_freezing(record)
        self.adopt_seed()
        before = self.portions[self.stage - 1] if self.stage else 0.0
        # find what cannot be quantized before the first change
        tops = {name: self._grown(record) for name, record in self.records.items()}
        for record in self.records.values():
            self._check_reach(record)
        self._tops.update(tops)
        for number, record in enumerate(self.records.values()):
            self._freeze(record, Portions(before, self.portions[self.stage]), number)
        self.stage, self.step, self._is_open = self.stage + 1, 0, True

    def _freeze(self, record: Record, portion: Portions, number: int) -> None:
        if not record.has_frozen:
            self._take_over(record)
        count = record.count(FREE)
        keep = remaining(count, portion)
        if keep < count:
            order = self._order(record, number)
            ranked = Ranked(record.parameter, order, record.status, order)
            (boundary,) = ranking.smallest([ranked], [count], keep)
            tops, axis, levels = self._tops[record.name], self._axis(record) or 0, self.levels[record.name]
            clipped = exchange.freeze(record.values, record.status, order, boundary, tops, axis, levels)
            clipped = int(shards.total(record.parameter, record.status.new_tensor(clipped, dtype=torch.int64)))
            self.clipped[record.name] = self.clipped.get(record.name, 0) + clipped
        record.note_version()

    def _take_over(self, record: Record) -> None:
        """Begins freezing: marks zeros as pruned."""
        zero = (record.status == CUT) | (record.status == PRUNED) | (record.values == 0)
        record.set_status(torch.where(zero, PRUNED, FREE).to(torch.uint8))
        record.has_frozen = True

    def _grown(self, record: Record) -> Tensor:
        """Returns the largest exponents; those that are unknown come from the magnitudes of the free entries.

        Raises:
            MethodError: a weight is not finite, or beyond the powers of two of its type.
        """
        tops, kind = self._tops[record.name], record.values.dtype
        pow2.check_levels(self.levels[record.name], self._top, kind, record.name)
        found = self._maxima(record)
        bad = found[~torch.isfinite(found)]
        # over all shards, so that all processes raise or none
        if int(shards.total(record.parameter, tops.new_tensor(len(bad)))):
            shown = bad[0].item() if len(bad) else "not finite"
            raise MethodError(f"the largest weight of {record.name} is {shown}; expected a finite number")
        best = pow2.exponent(found).to(tops)
        if self.fit == "error" and bool((tops == _UNKNOWN).any()):
            best = best - self._errors(record, best).argmin(0)
        grown = torch.where((tops == _UNKNOWN) & (found > 0), best, tops)
        top = shards.largest(record.parameter, grown.amax() if grown.numel() else tops.new_tensor(_UNKNOWN))
        pow2.check_largest(int(top), kind, record.name)
        return grown

    def _check_reach(self, record: Record) -> None:
        """Raises if the given exponents turn all weights to 0; warns if they turn nearly all to one value."""
        if self._top is None or record.has_frozen:
            return
        least, top = torch.tensor(self._top - self.levels[record.name] + 1), torch.tensor(self._top)
        counts = record.status.new_zeros(3, dtype=torch.int64)
        for rows, _ in self._rows(record):
            fallen, beyond = pow2.project_each(rows, least, top) == 0, pow2.exponent(rows) > self._top
            counts += torch.stack([torch.count_nonzero(rows), (fallen & (rows != 0)).sum(), (beyond & ~fallen).sum()])
        present, fallen_, beyond_ = shards.total(record.parameter, counts).tolist()
        powers = f"the given exponents, 2^{int(least)} .. 2^{self._top}"
        if present and fallen_ == present:
            raise MethodError(
                f"{record.name}: all {present:,} nonzero weights are too small for {powers}, and would become 0; "
                "expected exponents near those of the weights, or bits"
            )
        for number, what in ((fallen_, "become 0"), (beyond_, "are clipped to the largest")):
            if number > _MOST * present:
                warnings.warn(f"{record.name}: {number:,} of {present:,} weights {what} by {powers}", stacklevel=3)

    def _maxima(self, record: Record) -> Tensor:
        """Returns the largest free magnitude of each grid, float32 or float64."""
        kind = torch.promote_types(record.values.dtype, torch.float32)
        found = torch.zeros_like(self._tops[record.name], dtype=kind)
        for rows, channels in self._rows(record):
            found[channels] = torch.maximum(found[channels], rows.abs().amax(1).to(kind))
        return self._over_shards(record, found, shards.largest)

    def _errors(self, record: Record, best: Tensor) -> Tensor:
        """Returns the squared errors of grids that end at ``best`` and below: (candidates, grids) int64."""
        errors = best.new_zeros(_LOWER, len(best))
        for rows, channels in self._rows(record):
            top = best[channels]
            for lower in range(_LOWER):
                errors[lower, channels] += pow2.error(rows, top - lower, self.levels[record.name], top)
        return self._over_shards(record, errors, shards.total)

    def _over_shards(self, record: Record, found: Tensor, reduce: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        axis = self._axis(record)
        is_here = axis is not None and shards.shard_axis_is(record.parameter, axis)
        return found if is_here else reduce(record.parameter, found)

    def _rows(self, record: Record) -> Iterator[tuple[Tensor, slice]]:
        """Yields pieces of the values, 0 unless free: (grids, entries), and a slice of the grids they belong to."""
        axis = self._axis(record)
        longest = max(range(record.values.ndim), key=lambda number: record.values.shape[number], default=0)
        values, status = (t if t.ndim else t.reshape(1) for t in (record.values, record.status))
        if not values.numel():
            return
        step = max(values.shape[longest] * _PIECE // values.numel(), 1)
        for start in range(0, values.shape[longest], step):
            part = values.narrow(longest, start, min(step, values.shape[longest] - start))
            free = status.narrow(longest, start, part.shape[longest]) == FREE
            found = torch.where(free, part, 0)
            if axis is None:
                yield found.reshape(1, -1), slice(None)
            else:
                own = slice(start, start + step) if axis == longest else slice(None)
                yield found.movedim(axis, 0).flatten(1) if found.ndim > 1 else found[:, None], own

    def _order(self, record: Record, number: int) -> Tensor:
        """Returns numbers of the local shape; entries with the largest magnitudes are frozen first."""
        if self.partition == "magnitude":
            return record.values
        # not the bare seed: the weights may have been initialized with it
        generator = torch.Generator().manual_seed(random.Random(f"{self.seed}:{number}:{self.stage}").getrandbits(63))
        whole = torch.rand(record.parameter.shape, generator=generator)
        return shards.part_of(record.parameter, whole).to(record.values.device)

    def _grids(self, record: Record) -> tuple[Tensor, Tensor]:
        """Returns the least and the largest exponents, broadcastable to the local values."""
        tops = self._tops[record.name]
        axis = self._axis(record)
        if axis is not None:
            shape = [1] * record.values.ndim
            shape[axis] = -1
            tops = tops.reshape(shape)
        return tops - (self.levels[record.name] - 1), tops

    def _projected(self, record: Record, values: Tensor) -> Tensor:
        return pow2.project_each(values, *self._grids(record))

    @override
    def project_frozen(self, record: Record) -> None:
        if record.name in self.records and record.reserve is not None:
            frozen = record.status == FROZEN
            record.reserve.copy_(torch.where(frozen, self._projected(record, record.reserve), record.reserve))

    @override
    def decide(self, skip: Tensor | None) -> None:
        self.step += 1

    @override
    def rows(self) -> list[ParameterRow]:
        return [self._row(record) for record in self.records.values()]

    def _row(self, record: Record) -> ParameterRow:
        return ParameterRow(
            record.name,
            tuple(record.parameter.shape),
            record.parameter.numel(),
            record.nonzero(),
            frozen=record.count(FROZEN, PRUNED),
            exponents=self._range(record),
            clipped=self.clipped.get(record.name, 0),
        )

    def _range(self, record: Record) -> tuple[int, int] | None:
        """Returns the least and the largest exponent of all grids of a parameter, over all shards."""
        tops = self._tops[record.name]
        known = tops[tops != _UNKNOWN]
        # reduce the negated exponents too, since only maxima can be reduced; an empty shard does not count
        extremes = [part.amax() if part.numel() else tops.new_tensor(_UNKNOWN) for part in (-known, known)]
        low, high = shards.largest(record.parameter, torch.stack(extremes)).tolist()
        return None if high == _UNKNOWN else (1 - low - self.levels[record.name], high)

    @override
    def notes(self, rows: Sequence[ParameterRow]) -> tuple[str, ...]:
        done = self.portions[self.stage - 1] if self.stage else 0.0
        lines = [f"{done:.0%} of the unpruned weights are frozen, portion {self.stage} of {len(self.portions)}"]
        if clipped := sum(self.clipped.values()):
            lines.append(f"{clipped:,} values had grown beyond their grid and were clipped to it")
        return tuple(lines)

    @override
    def state_dict(self) -> dict[str, Tensor]:
        own = {"stage": self.stage, "step": self.step, "open": self._is_open}
        return super().state_dict() | {name: torch.tensor(int(value)) for name, value in own.items()}

    @override
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self.stage, self.step, self._is_open = int(state["stage"]), int(state["step"]), bool(state["open"])
        for record in self.records.values():
            record.has_frozen = self.stage > 0

    @override
    def record_state(self, record: Record) -> dict[str, Tensor]:
        return {
            "status": shards.like(record.parameter, record.status.contiguous().clone()),
            "exponent": shards.channels_like(record.parameter, self._tops[record.name].clone(), self._axis(record)),
            "clipped": torch.tensor(self.clipped.get(record.name, 0)),
        }

    @override
    def load_record_state(self, record: Record, saved: dict[str, Tensor]) -> None:
        tops = shards.channels_part_of(record.parameter, saved["exponent"], self._axis(record))
        self._tops[record.name] = tops.to(record.values.device).clone()
        self.clipped[record.name] = int(saved["clipped"])
        status = self._part(record, "status", saved["status"])
        mine = (status == FROZEN) | (status == PRUNED)
        # surgery's own state says what it has cut; entries that are not cut now were not cut in that state
        cut = (record.status == CUT) & (record.values == 0) | (record.status == PRUNED) & (status == CUT)
        record.restore(torch.where(mine, status, torch.where(cut, CUT, FREE)).to(torch.uint8))
        record.ensure_reserve()


_UNKNOWN = -(1 << 20)
# number of grids to try, each half as large as the one before
_LOWER = 4
# warn if given exponents turn more than this share of the weights to one value
_MOST = 0.99
# entries that a pass with temporary memory handles at a time
_PIECE = 1 << 20


def levels_of(
    bits: int | Mapping[P, int] | None, exponents: int | tuple[int, ...] | None
) -> tuple[int | dict[P, int], int | None]:
    """Returns the number of exponents, or a number for each pattern, and the largest exponent if it is given.

    Raises:
        MethodError: both or none are given, or a value is invalid.
    """
    if bits is not None and exponents is not None:
        raise MethodError("expected one of bits and exponents, found both")
    if isinstance(bits, Mapping):
        settings.each("bits", bits, lambda name, value: settings.whole(name, value))
        return {pattern: pow2.levels_of_bits(value) for pattern, value in bits.items()}, None
    if bits is not None:
        return pow2.levels_of_bits(bits), None
    if exponents is None:
        raise MethodError("expected one of bits and exponents")
    return pow2.levels_of_exponents(exponents)


def _increasing(values: Sequence[float]) -> tuple[float, ...]:
    expected = "increasing shares, above 0 and at most 1"
    given = settings.listed("portions", values, expected)
    found = tuple(settings.number("portions", value) for value in given)
    if not found or not 0 < found[0] <= found[-1] <= 1 or sorted(set(found)) != list(found):
        raise MethodError(f"portions is {found}; expected {expected}")
    return found
