"""What all methods share: the parameters, the optimizers they ride on, their state, their end.

A method attaches to (model, optimizer). The mathematics is in the subclasses.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from demitasse.errors import MethodError, WeightsError
from demitasse.methods import hooks, selection, settings, shards
from demitasse.methods.homes import places
from demitasse.methods.peft import adapters_alone
from demitasse.methods.records import CUT, FREE, FROZEN, PRUNED, Record, forget, known_records, record_for, record_of
from demitasse.methods.report import Report, Row
from demitasse.registry import suggest


class Method(ABC):
    """A method of compression on chosen parameters of a module.

    The module stays as it is: its parameters hold the effective values (cut: 0; frozen: a power of two) at any time
    outside of ``optimizer.step()``. Attach after ``fully_shard``; before or after DistributedDataParallel, as you like.

    Args:
        model: any module, wrapped or not.
        optimizer: the optimizer that trains it, or several; the first one counts the steps.
        parameters: what to compress, see :func:`demitasse.methods.selection.select`.
        exclude: what stays dense all the same.
        seed: of all that is random; in a distributed run that of rank 0.

    Attributes:
        iteration: steps of the optimizer that were seen, skipped ones of a GradScaler not counted.

    Raises:
        MethodError: a setting has no meaning, a pattern matches nothing, a parameter is under such a method already,
            or the optimizer is none.
    """

    kind: ClassVar[str]  # methods of the same kind exclude one another on a parameter
    optional: ClassVar[tuple[str, ...]] = ()  # parts of the state that it may lack
    is_exact: ClassVar[bool] = False  # layers must compute with the very values, not with a multiple of them

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
                self.check_beside(known)
        self._adapters = adapters_alone(self.model, found)
        if self._adapters:
            warnings.warn(self._adapters, stacklevel=3)
        self.records = {item.name: self._record(item) for item in found.chosen}
        for one in self.optimizers:
            hooks.ride(one, self)

    def check_beside(self, record: Record) -> None:
        """Raises where the method cannot be attached to a parameter beside those that it is under.

        Raises:
            MethodError: as said.
        """
        for other in record.methods:
            if other.kind == self.kind:
                raise MethodError(f"{record.name} is under {type(other).__name__} already; finish that first")

    def check_chosen(self, chosen: Sequence[selection.Chosen]) -> None:
        """Raises where a setting does not fit a chosen parameter; nothing is attached yet."""
        return

    def _record(self, item: selection.Chosen) -> Record:
        record = record_for(item)
        record.methods.append(self)
        return record

    def check_freezing(self, record: Record) -> None:
        """Raises where the method is not done with a parameter that is about to be frozen.

        Raises:
            MethodError: as said.
        """
        return

    @abstractmethod
    def decide(self, skip: Tensor | None) -> None:
        """Decides after step ``self.iteration``; parameters hold effective values.

        Args:
            skip: where the device alone knows whether the step was skipped, a tensor of one number, not 0 if it was.
        """

    @abstractmethod
    def rows(self) -> list[Row]:
        """Returns the report's row of every compressed parameter."""

    def ground(self, record: Record) -> None:
        """Puts frozen values in the reserve back onto the grid, after an edit from outside."""
        return

    def after_step(self, skip: Tensor | None) -> None:
        """Counts a step of the optimizer and decides."""
        self.agree()
        self.decide(skip)
        self.iteration += 1

    def agree(self) -> None:
        """Takes over the seed of rank 0, once."""
        if not self._seed_agreed and self.records:
            self.seed = shards.from_first_rank(self.seed, next(iter(self.records.values())).values.device)
            self._seed_agreed = True

    def masks(self) -> dict[str, Tensor]:
        """Returns name -> bool, True = kept; sharded as the parameters are."""
        return {
            name: shards.like(record.parameter, (record.status != CUT) & (record.status != PRUNED))
            for name, record in self.records.items()
        }

    def load_masks(self, masks: Mapping[str, Tensor]) -> None:
        """Takes masks over from an earlier run, or from elsewhere; the rest of the state stays.

        Args:
            masks: name -> True or not 0 = kept; whole tensors or sharded ones. Names that are missing keep theirs.

        Raises:
            WeightsError: a name is not among the compressed parameters, or a shape differs.
            MethodError: it is no mapping of names to tensors.
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
            raise WeightsError(f"{name!r} is not compressed here; {suggest(name, self.records)}")
        return self.records[name]

    def _part(self, record: Record, what: str, given: Tensor) -> Tensor:
        """Returns this process's part of a saved tensor."""
        _same_shape(f"{what}.{record.name}", given, record.parameter)
        return shards.part_of(record.parameter, given).to(record.status.device)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns all that a resume needs, as tensors alone: for torch.save, safetensors and distributed checkpoints.

        Save it beside the state_dicts of model and optimizer. Tensors of sharded parameters are DTensors.
        """
        state = {"iteration": torch.tensor(self.iteration), "seed": torch.tensor(self.seed)}
        for name, record in self.records.items():
            for part, tensor in self.saved(record).items():
                state[f"{part}.{name}"] = tensor
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Goes on where the state was taken, at any number of processes.

        Load the model's own state before or after; its cut entries are 0 there.

        Raises:
            WeightsError: the state is of other parameters or shapes, or of another method.
            MethodError: it is no mapping of names to tensors.
        """
        _check_tensors("state", state)
        own = {key: tensor for key, tensor in self.state_dict().items() if not self._is_optional(key)}
        # all of it before the first change: a state that is refused leaves everything as it was
        if missing := sorted(own.keys() - state.keys()):
            raise WeightsError(f"{type(self).__name__}: the state has no {missing[0]!r} ({len(missing)} missing)")
        if unknown := sorted(key for key in state.keys() - own.keys() if not self._is_optional(key)):
            raise WeightsError(f"{type(self).__name__}: the state has {unknown[0]!r}, which is not compressed here")
        for key, tensor in own.items():
            _same_shape(key, state[key], tensor)
        self.iteration, self.seed = int(state["iteration"]), int(state["seed"])
        for name, record in self.records.items():
            record.strangers.clear()  # what they have done is undone
            parts = dict.fromkeys([*self.saved(record), *self.optional])
            self.take(record, {part: state[f"{part}.{name}"] for part in parts if f"{part}.{name}" in state})

    def _is_optional(self, key: str) -> bool:
        part, _, name = key.partition(".")
        return part in self.optional and name in self.records

    @abstractmethod
    def saved(self, record: Record) -> dict[str, Tensor]:
        """Returns the tensors of a parameter that go into the state."""

    @abstractmethod
    def take(self, record: Record, saved: dict[str, Tensor]) -> None:
        """Takes the tensors of a parameter back."""

    def report(self) -> Report:
        """Returns what was done to each parameter, and what stays dense; print it.

        In a distributed run with sharded parameters every process must call it.

        Raises:
            MethodError: the method has lost the module, see :meth:`check`, or a weight is not finite.
        """
        self.check()
        for record in self.records.values():
            check_finite(record.chosen)
        rows = tuple(self.rows())
        tied = [f"{name} is also {', '.join(record.chosen.tied)}" for name, record in self.records.items()]
        tied = [line for line, record in zip(tied, self.records.values(), strict=True) if record.chosen.tied]
        said = [self._adapters] if self._adapters else []
        notes = (*said, *tied, *self.notes(rows))
        return Report(type(self).__name__, self.iteration, rows, tuple(self.dense), notes)

    def notes(self, rows: Sequence[Row]) -> tuple[str, ...]:
        """Returns what is to be said below the table of these rows."""
        return ()

    def finish(self, averaged_model: nn.Module | None = None) -> Report:
        """Ends the method: what is cut is 0 in the module, and stays so as long as nobody trains it.

        Args:
            averaged_model: an average of the module over its training (EMA, SWA), which is neither masked nor
                quantized; it gets the zeros and the frozen values of the module.

        Returns:
            The last report.

        Raises:
            MethodError: the method has lost the module, see :meth:`check`, or a weight is not finite.
        """
        if averaged_model is not None:
            settings.module("averaged_model", averaged_model)
        report = self.report()
        if averaged_model is not None:
            self.project(averaged_model)
        if not self.is_finished:
            self.is_finished = True
            for optimizer in self.optimizers:
                hooks.dismount(optimizer, self)
            for record in self.records.values():
                self._release(record)
        return report

    @torch.no_grad()
    def project(self, averaged_model: nn.Module) -> None:
        """Gives an average of the module the zeros and the frozen values of the module.

        Raises:
            WeightsError: it is not an average of this module.
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
            # another method still trains the parameter: what is cut stays cut
            record.set_status(torch.where(record.status == CUT, PRUNED, record.status).byte())

    def check(self) -> None:
        """Raises where the method has lost the module: an unknown optimizer stepped it, or it got other parameters.

        Loading a state makes good what an unknown optimizer has done.

        Raises:
            MethodError: as said.
        """
        self.check_module()
        for record in self.records.values():
            record.check_shape()
            if record.strangers:
                names = " and ".join(sorted(record.strangers))
                raise MethodError(
                    f"{record.name} was stepped by {names}, which {type(self).__name__} does not know; "
                    "give it all optimizers of the model"
                )
            record.leave()

    def check_module(self) -> None:
        """Raises where the module holds a compressed parameter no more, or at another place too.

        Raises:
            MethodError: as said.
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
                raise MethodError(f"{record.name} is {more[0]} too by now; attach {name} after parameters are tied")
        for record in self.records.values():
            for home in record.chosen.homes:
                if found.get((id(home.owner), home.leaf)) != id(record.parameter):
                    what = "another parameter as" if home.name in present else "no longer"
                    raise MethodError(
                        f"the module holds {what} {home.name} by now; attach {name} after fully_shard, after loading "
                        "with assign=True, and after layers are replaced"
                    )

    @cached_property
    def _places(self) -> dict[tuple[int, str], int]:
        """Returns which parameter belongs where; see :func:`places`."""
        records = self.records.values()
        return {(id(home.owner), home.leaf): id(one.parameter) for one in records for home in one.chosen.homes}

    def __getstate__(self) -> Any:
        raise MethodError(f"{type(self).__name__} rides on its optimizer and is not copied; save its state_dict()")


def check_methods(model: nn.Module) -> None:
    """Raises where a method that is attached to a module, or to a part of it, has lost it; see :meth:`Method.check`.

    Raises:
        MethodError: as said.
    """
    held = {id(parameter) for parameter in selection.named_parameters(model).values()}
    bare = selection.unwrap(model)
    pairs = [(record, method) for record in known_records() for method in record.methods]
    for method in {m: None for record, m in pairs if m.model is bare or id(record.parameter) in held}:
        method.check()


def check_finite(item: selection.Chosen) -> None:
    """Raises where a weight is not finite, in every process that holds a part of the parameter."""
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
