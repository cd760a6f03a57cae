"""One compressed parameter: the state of every entry, and the values that are not in the parameter itself.

Outside of an optimizer's step the parameter holds effective values: cut entries are 0, and what they would be is in
the reserve. During a step it holds dense values, and the reserve remembers the frozen ones. One reserve serves both.
"""

from __future__ import annotations

from typing import ClassVar, Protocol
from weakref import ref

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.weak import WeakTensorKeyDictionary

from demitasse.errors import MethodError
from demitasse.methods import exchange, shards
from demitasse.methods.exchange import CUT, FREE, FROZEN, PRUNED
from demitasse.methods.selection import Chosen

__all__ = ["CUT", "FREE", "FROZEN", "PRUNED", "Record", "Rider", "forget", "known_records", "record_for", "record_of"]


class Rider(Protocol):
    """A method as records and the hooks of optimizers see it; see :class:`demitasse.methods.method.Method`."""

    kind: ClassVar[str]
    model: nn.Module
    optimizers: list[Optimizer]

    def ground(self, record: Record) -> None:
        """Puts frozen values in the reserve back onto the grid, after an edit from outside."""

    def check_freezing(self, record: Record) -> None:
        """Raises where the method is not done with a parameter that is about to be frozen."""

    def after_step(self, skip: Tensor | None) -> None:
        """Counts a step of the optimizer and decides."""

    def check_module(self) -> None:
        """Raises where the module holds a compressed parameter no more, or at another place too."""

    def check(self) -> None:
        """Raises where the method has lost the module."""


class Record:
    """The state of one parameter under one or several methods.

    Attributes:
        chosen: the parameter and where it belongs.
        status: uint8 of the local shape: FREE, CUT (0 for now, goes on learning in the reserve), FROZEN (keeps its
            value) or PRUNED (0 for good).
        reserve: like the local values; of cut entries their dense values, during a step the values of frozen ones.
        has_frozen: whether entries are frozen, or pruned before freezing began.
        strangers: names of unknown optimizers that stepped the parameter.
        inside: whether a step is under way, so that the parameter holds dense values.
        methods: those that use it.
    """

    def __init__(self, chosen: Chosen) -> None:
        self.chosen = chosen
        self.status = torch.zeros_like(self.values, dtype=torch.uint8)
        self.reserve: Tensor | None = None
        self.inside = False
        self.methods: list[Rider] = []
        self.strangers: set[str] = set()
        self.has_frozen = False
        self._version = -1

    @property
    def name(self) -> str:
        """The parameter's name in the state_dict."""
        return self.chosen.name

    @property
    def parameter(self) -> torch.nn.Parameter:
        """The parameter."""
        return self.chosen.parameter

    @property
    def values(self) -> Tensor:
        """The parameter's values in this process, sharing its memory."""
        return shards.local(self.chosen.parameter)

    @property
    def is_live(self) -> bool:
        """Whether what is cut may change: the parameter takes gradients, and nothing of it is frozen."""
        return self.parameter.requires_grad and not self.has_frozen

    @property
    def is_stale(self) -> bool:
        """Whether a module that held the parameter holds another one by now."""
        return any(home.owner._parameters.get(home.leaf) is not self.chosen.parameter for home in self.chosen.homes)

    def hold(self) -> Tensor:
        """Returns the reserve, made at its first use; without it the record costs a byte an entry."""
        if self.reserve is None:
            self.reserve = torch.zeros_like(self.values)
        return self.reserve

    @torch.no_grad()
    def enter(self) -> None:
        """Puts the dense values into the parameter, before a step."""
        if self.inside:
            return
        self._follow()
        if self.reserve is not None:
            values = self.values
            if exchange.put_back(values, self.status, self.reserve, edited=values._version != self._version):
                self._ground()
        self.inside = True

    @torch.no_grad()
    def leave(self) -> None:
        """Puts the effective values into the parameter, after a step."""
        if not self.inside:
            return
        exchange.take_out(self.values, self.status, self.reserve)
        self.inside = False
        self.seen()

    def seen(self) -> None:
        """Notes that what stands in the parameter is ours, so that edits from outside are noticed."""
        self._version = self.values._version

    def _follow(self) -> None:
        """Follows a module that was moved to another device, type or memory format."""
        self.check_shape()
        values = self.values
        same_type = self.reserve is None or self.reserve.dtype == values.dtype
        if same_type and self.status.device == values.device and self.status.stride() == values.stride():
            return
        self.status = torch.empty_like(values, dtype=torch.uint8).copy_(self.status)
        if self.reserve is not None:
            self.reserve = torch.empty_like(values).copy_(self.reserve)

    def check_shape(self) -> None:
        """Raises where the parameter was given data of another shape.

        Raises:
            MethodError: as said.
        """
        if self.values.shape != self.status.shape:
            found, expected = tuple(self.values.shape), tuple(self.status.shape)
            names = " and ".join(type(method).__name__ for method in self.methods)
            raise MethodError(
                f"{self.name} has shape {found} by now, and had {expected} as {names} was attached; attach after "
                "layers are replaced"
            )

    def _ground(self) -> None:
        """Puts frozen values that were edited from outside back onto the grid."""
        for method in self.methods:
            method.ground(self)

    @torch.no_grad()
    def set_status(self, status: Tensor) -> None:
        """Takes a new state of every entry; values that are cut now go to the reserve, those that come back return.

        Args:
            status: uint8, of the local shape.
        """
        self._follow()
        values, reserve = self.values, self.hold()
        back = (self.status == CUT) & (status != CUT) & (status != PRUNED) & (values == 0)
        values.copy_(torch.where(back, reserve, values))
        self.status.copy_(status)
        # a cut value that is not zero was written from outside, and wins
        reserve.copy_(torch.where((status == CUT) & (values != 0), values, reserve))
        values.masked_fill_((status == CUT) | (status == PRUNED), 0)
        self.seen()

    @torch.no_grad()
    def restore(self, status: Tensor, reserve: Tensor | None = None) -> None:
        """Takes a saved state back: what is cut is 0 in the parameter, whatever stood there.

        Args:
            status: uint8, of the local shape.
            reserve: the dense values of what is cut.
        """
        self._follow()
        self.status.copy_(status)
        if reserve is not None:
            self.hold().copy_(reserve)
        self.values.masked_fill_((self.status == CUT) | (self.status == PRUNED), 0)
        self.seen()

    def count(self, *states: int) -> int:
        """Returns how many entries are in one of the states, over all shards."""
        found = torch.stack([(self.status == state).sum() for state in states]).sum()
        return int(shards.total(self.parameter, found))

    def nonzero(self) -> int:
        """Returns how many entries are not zero, over all shards."""
        return int(shards.total(self.parameter, torch.count_nonzero(self.values)))


# Weak on both sides: methods hold their records, optimizers their methods, and all of them go with the optimizer.
_RECORDS: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def record_of(parameter: Tensor) -> Record | None:
    """Returns the record of a parameter; None where no method uses it."""
    reference = _RECORDS.get(parameter)  # type: ignore[no-untyped-call]
    found: Record | None = reference() if reference is not None else None
    return found


def known_records() -> list[Record]:
    """Returns the records of all parameters that are under a method."""
    references = list(_RECORDS.values())  # type: ignore[no-untyped-call]
    return [record for record in (reference() for reference in references) if record is not None]


def record_for(chosen: Chosen) -> Record:
    """Returns the record of a chosen parameter, a new one where there is none; the caller has to hold it."""
    record = record_of(chosen.parameter)
    if record is None:
        record = Record(chosen)
        _RECORDS[chosen.parameter] = ref(record)
    return record


def forget(record: Record) -> None:
    """Ends the record of a parameter that is under no method any more."""
    del _RECORDS[record.parameter]
