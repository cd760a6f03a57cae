"""The base class of all methods: choosing parameters, attaching to optimizers, state, reports, finishing.

The mathematics of each method is in its subclass.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from demitasse.errors import MethodError, WeightsError
from demitasse.methods import hooks, selection, settings, shards
from demitasse.methods.homes import places
from demitasse.methods.peft import adapters_alone
from demitasse.methods.records import CUT, FREE, FROZEN, PRUNED, Record, forget, known_records, record_for, record_of
from demitasse.methods.report import MethodReport, ParameterRow
from demitasse.registry import suggest


class Method(ABC):
    """A compression method, applied to chosen parameters of a module.

    The method wraps nothing: outside ``optimizer.step()`` the module's parameters always hold the effective values
    (0 where cut, a power of two where frozen). Attach after ``fully_shard``, and before or after
    DistributedDataParallel.

    Args:
        model: any module, wrapped or not.
        optimizer: the optimizer or optimizers that train the model; the first one counts the steps.
        parameters: what to compress, see :func:`demitasse.methods.selection.select`.
        exclude: what to leave dense.
        seed: for everything random; a distributed run uses the seed of rank 0.

    Attributes:
        iteration: number of optimizer steps so far, without those that a GradScaler skipped.

    Raises:
        MethodError: a setting is invalid, a pattern matches nothing, a parameter already has a method of this kind,
            or the optimizer is missing or not an optimizer.
    """

    kind: ClassVar[str]  # a parameter takes one method of a kind
    optional: ClassVar[tuple[str, ...]] = ()  # parts that a state may lack
    is_exact: ClassVar[bool] = False  # layers must compute with the values themselves, not with a multiple of them

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer] | None,
        parameters: Sequence[selection.Pattern] | None,
        exclude: Sequence[selection.Pattern],
        seed: int,
    ) -> None:
        found = selection.select(model, parameters, exclude, self.is_exact)
        self.optimizers = hooks.unwrapped(optimizer, type(self).__name__)
        hooks.check_optimizers(self.optimizers, model, found.chosen)
        self.check_chosen(found.chosen)
        self.seed, self.iteration = settings.whole("seed", seed), 0
        self.model = selection.unwrap(model)
        self.dense = list(found.dense)
        self.is_finished = False
        self._seed_agreed = False
        for item in found.chosen:
            check_finite(item)
            known = record_of(item.parameter)
            if known is not None:
                self.check_compatible(known)
        self._adapters = adapters_alone(self.model, found)
        if self._adapters:
            warnings.warn(self._adapters, stacklevel=3)
        self.records = {item.name: self._record(item) for item in found.chosen}
        for one in self.optimizers:
            hooks.attach(one, self)

    def check_compatible(self, record: Record) -> None:
        """Checks that the method can be combined with those that a parameter already has.

        Raises:
            MethodError: the parameter already has a method of the same kind.
        """
        for other in record.methods:
            if other.kind == self.kind:
                raise MethodError(f"{record.name} already has a {type(other).__name__}; finish that first")

    def check_chosen(self, chosen: Sequence[selection.Chosen]) -> None:
        """Checks the settings against the chosen parameters, before anything is attached."""
        return

    def keep_those_in(self, values: Mapping[str, object], setting: str) -> None:
        """Releases the chosen parameters that a setting has no value for: they stay dense.

        Args:
            values: name of a parameter -> value.
            setting: its name, for the report.
        """
        for name in [name for name in self.records if name not in values]:
            record = self.records.pop(name)
            self._release(record)
            self.dense.append(selection.Dense(name, record.parameter.numel(), f"{setting} has no value for it"))

    def _record(self, item: selection.Chosen) -> Record:
        record = record_for(item)
        record.methods.append(self)
        return record

    def check_freezing(self, record: Record) -> None:
        """Checks that a parameter may be frozen now.

        Raises:
            MethodError: the method still has to change the parameter.
        """
        return

    @abstractmethod
    def decide(self, skip: Tensor | None) -> None:
        """Decides what to cut or freeze after step ``self.iteration``; parameters hold effective values.

        Args:
            skip: a tensor of one number, nonzero if the step was skipped, where only the device knows; else None.
        """

    @abstractmethod
    def rows(self) -> list[ParameterRow]:
        """Returns the report's rows, one for each compressed parameter."""

    def project_frozen(self, record: Record) -> None:
        """Projects the frozen values in the reserve onto the grid, after somebody else wrote to the parameter."""
        return

    def after_step(self, skip: Tensor | None) -> None:
        """Decides after a step of the optimizer, and counts the step."""
        self.adopt_seed()
        self.decide(skip)
        self.iteration += 1

    def adopt_seed(self) -> None:
        """Adopts the seed of rank 0, once."""
        if not self._seed_agreed and self.records:
            self.seed = shards.from_first_rank(self.seed, next(iter(self.records.values())).values.device)
            self._seed_agreed = True

    def masks(self) -> dict[str, Tensor]:
        """Returns name -> bool mask, True = kept, sharded like the parameter."""
        return {
            name: shards.like(record.parameter, (record.status != CUT) & (record.status != PRUNED))
            for name, record in self.records.items()
        }

    def load_masks(self, masks: Mapping[str, Tensor]) -> None:
        """Loads masks, for example from an earlier run; the rest of the state does not change.

        Args:
            masks: name -> tensor of the parameter's shape, nonzero = kept, whole or sharded. Parameters that are not
                named keep their masks.

        Raises:
            WeightsError: a name is not among the compressed parameters, or a shape differs.
            MethodError: ``masks`` is not a mapping of names to tensors.
        """
        _check_tensors("masks", masks)
        for name, mask in masks.items():
            record = self._named(name)
            kept = self._part(record, "mask", mask).bool()
            fixed = (record.status == FROZEN) | (record.status == PRUNED)
            record.set_status(torch.where(fixed, record.status, torch.where(kept, FREE, self.cut_state)).byte())

    cut_state: ClassVar[int] = CUT

    def _named(self, name: str) -> Record:
        if name not in self.records:
            raise WeightsError(f"{name!r} is not a compressed parameter; {suggest(name, self.records)}")
        return self.records[name]

    def _part(self, record: Record, what: str, given: Tensor) -> Tensor:
        """Returns this process's part of a saved tensor."""
        _same_shape(f"{what}.{record.name}", given, record.parameter)
        return shards.part_of(record.parameter, given).to(record.status.device)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns everything a resume needs, as tensors: for torch.save, safetensors and distributed checkpoints.

        Save it with the state_dicts of the model and the optimizer. Tensors of sharded parameters are DTensors.
        """
        state = {"iteration": torch.tensor(self.iteration), "seed": torch.tensor(self.seed)}
        for name, record in self.records.items():
            for part, tensor in self.record_state(record).items():
                state[f"{part}.{name}"] = tensor
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores a state from :meth:`state_dict`, on any number of processes.

        Load the model's own state before or after it; cut entries are 0 there.

        Raises:
            WeightsError: the state has other parameters or shapes, or belongs to another method.
            MethodError: ``state`` is not a mapping of names to tensors.
        """
        _check_tensors("state", state)
        own = {key: tensor for key, tensor in self.state_dict().items() if not self._is_optional(key)}
        # check everything before the first change, so that a refused state changes nothing
        if missing := sorted(own.keys() - state.keys()):
            raise WeightsError(f"{type(self).__name__}: the state has no {missing[0]!r} ({len(missing)} missing)")
        if unknown := sorted(key for key in state.keys() - own.keys() if not self._is_optional(key)):
            raise WeightsError(f"{type(self).__name__}: the state has {unknown[0]!r}, which is not compressed here")
        for key, tensor in own.items():
            _same_shape(key, state[key], tensor)
        self.iteration, self.seed = int(state["iteration"]), int(state["seed"])
        for name, record in self.records.items():
            record.unknown_optimizers.clear()  # loading undoes their steps
            parts = dict.fromkeys([*self.record_state(record), *self.optional])
            self.load_record_state(
                record, {part: state[f"{part}.{name}"] for part in parts if f"{part}.{name}" in state}
            )

    def _is_optional(self, key: str) -> bool:
        part, _, name = key.partition(".")
        return part in self.optional and name in self.records

    @abstractmethod
    def record_state(self, record: Record) -> dict[str, Tensor]:
        """Returns what a state holds about a parameter, by name."""

    @abstractmethod
    def load_record_state(self, record: Record, saved: dict[str, Tensor]) -> None:
        """Restores what :meth:`record_state` returned."""

    def report(self) -> MethodReport:
        """Returns a printable report of what was done to each parameter, and of what stays dense.

        In a distributed run with sharded parameters every process must call it.

        Raises:
            MethodError: a check of :meth:`check` fails, or a weight is not finite.
        """
        self.check()
        for record in self.records.values():
            check_finite(record.chosen)
        rows = tuple(self.rows())
        tied = [f"{name} is also {', '.join(record.chosen.tied)}" for name, record in self.records.items()]
        tied = [line for line, record in zip(tied, self.records.values(), strict=True) if record.chosen.tied]
        adapters = [self._adapters] if self._adapters else []
        notes = (*adapters, *tied, *self.notes(rows))
        return MethodReport(type(self).__name__, self.iteration, rows, tuple(self.dense), notes)

    def notes(self, rows: Sequence[ParameterRow]) -> tuple[str, ...]:
        """Returns the lines below the table of these rows."""
        return ()

    def finish(self, averaged_model: nn.Module | None = None) -> MethodReport:
        """Detaches the method: cut weights are 0 in the module, and stay 0 unless it is trained further.

        Args:
            averaged_model: an average of the module over its training (EMA, SWA), which is neither masked nor
                quantized; it receives the zeros and the frozen values of the module.

        Returns:
            The last report.

        Raises:
            MethodError: a check of :meth:`check` fails, or a weight is not finite.
        """
        if averaged_model is not None:
            settings.module("averaged_model", averaged_model)
        report = self.report()
        if averaged_model is not None:
            self.project(averaged_model)
        if not self.is_finished:
            self.is_finished = True
            for optimizer in self.optimizers:
                hooks.detach(optimizer, self)
            for record in self.records.values():
                self._release(record)
        return report

    @torch.no_grad()
    def project(self, averaged_model: nn.Module) -> None:
        """Copies the zeros and the frozen values of the module to an average of it.

        Raises:
            WeightsError: a compressed parameter is missing in the average, or has another shape.
        """
        found = selection.named_parameters(averaged_model)
        for name, record in self.records.items():
            if name not in found or found[name].shape != record.parameter.shape:
                raise WeightsError(f"the averaged model has no {name} of shape {tuple(record.parameter.shape)}")
            average, values, status = shards.local(found[name]), record.values, record.status
            fixed = torch.where(status == FROZEN, values.to(average.dtype), 0.0).to(average)
            average.copy_(torch.where((status == FREE).to(average.device), average, fixed))

    def _release(self, record: Record) -> None:
        record.methods.remove(self)
        if not record.methods:
            forget(record)
        elif bool((record.status == CUT).any()) and not any(method.kind == self.kind for method in record.methods):
            # another method still trains the parameter: keep what is cut at 0
            record.set_status(torch.where(record.status == CUT, PRUNED, record.status).byte())

    def check(self) -> None:
        """Checks that the module still has the compressed parameters, and that only known optimizers stepped them.

        After a step of an unknown optimizer, loading a state repairs the parameters.

        Raises:
            MethodError: a parameter was replaced, or stepped by an unknown optimizer.
        """
        self.check_module()
        for record in self.records.values():
            record.check_shape()
            if record.unknown_optimizers:
                names = " and ".join(sorted(record.unknown_optimizers))
                raise MethodError(
                    f"{record.name} was stepped by {names}, which {type(self).__name__} does not know; "
                    "give it all optimizers of the model"
                )
            record.load_effective()

    def check_module(self) -> None:
        """Checks that the module holds the compressed parameters at their places, and nowhere else.

        Raises:
            MethodError: a parameter was replaced, or was tied to another one.
        """
        found = places(self.model, {id(record.parameter) for record in self.records.values()})
        if found == self._places:
            return
        present = selection.named_parameters(self.model)
        name = type(self).__name__
        for record in self.records.values():
            known = {home.name for home in record.chosen.homes}
            more = [key for key, one in present.items() if one is record.parameter and key not in known]
            if more and not record.is_stale:
                raise MethodError(f"{record.name} is now also {more[0]}; attach {name} after parameters are tied")
        for record in self.records.values():
            for home in record.chosen.homes:
                if found.get((id(home.owner), home.leaf)) != id(record.parameter):
                    change = "was replaced in" if home.name in present else "is no longer in"
                    raise MethodError(
                        f"{home.name} {change} the module; attach {name} after fully_shard, after loading with "
                        "assign=True, and after layers are replaced"
                    )

    @cached_property
    def _places(self) -> dict[tuple[int, str], int]:
        """The ids of the compressed parameters by their places; see :func:`places`."""
        records = self.records.values()
        return {(id(home.owner), home.leaf): id(one.parameter) for one in records for home in one.chosen.homes}

    def __getstate__(self) -> object:
        raise MethodError(f"{type(self).__name__} is attached to its optimizer and cannot be copied; save state_dict()")


def check_methods(model: nn.Module) -> None:
    """Calls :meth:`Method.check` of every method that is attached to a module, or to a part of it.

    Raises:
        MethodError: a check fails.
    """
    held = {id(parameter) for parameter in selection.named_parameters(model).values()}
    bare = selection.unwrap(model)
    pairs = [(record, method) for record in known_records() for method in record.methods]
    for method in {m: None for record, m in pairs if m.model is bare or id(record.parameter) in held}:
        method.check()


def check_finite(item: selection.Chosen) -> None:
    """Raises MethodError if a weight is not finite, in every process that holds a part of the parameter."""
    values = shards.local(item.parameter)
    extremes = torch.stack(values.aminmax()) if values.numel() else values.new_zeros(2)
    bad = ~torch.isfinite(extremes)
    if bool(shards.largest(item.parameter, bad.any().int())):
        shown = extremes[bad][0].item() if bool(bad.any()) else "not finite"
        raise MethodError(f"the largest weight of {item.name} is {shown}; expected a finite number")


def _check_tensors(argument: str, given: object) -> None:
    if not isinstance(given, Mapping):
        raise MethodError(f"{argument} is {settings.shown(given)}; expected a mapping of names to tensors")
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise MethodError(
                f"{argument} has {settings.shown(value)} as {name!r}; expected names, and tensors under them"
            )


def _same_shape(key: str, given: Tensor, expected: Tensor) -> None:
    if given.shape != expected.shape:
        raise WeightsError(f"{key} has shape {tuple(given.shape)}; expected {tuple(expected.shape)}")
