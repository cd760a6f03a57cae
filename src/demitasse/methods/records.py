"""One compressed parameter: the state of every entry, and the values that are not in the parameter itself.

Outside an optimizer's step the parameter holds effective values: cut entries are 0, and their dense values are in the
reserve. During a step the parameter holds dense values, and the reserve holds the frozen ones.
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

__all__ = [
    "CUT",
    "FREE",
    "FROZEN",
    "PRUNED",
    "AttachedMethod",
    "Record",
    "forget",
    "known_records",
    "record_for",
    "record_of",
]


class AttachedMethod(Protocol):
    """What records and the hooks of optimizers use of a :class:`demitasse.methods.method.Method`."""

    kind: ClassVar[str]
    model: nn.Module
    optimizers: list[Optimizer]

    def project_frozen(self, record: Record) -> None:
        """Projects the frozen values in the reserve onto the grid, after somebody else wrote to the parameter."""

    def check_freezing(self, record: Record) -> None:
        """Checks that a parameter may be frozen now."""

    def after_step(self, skip: Tensor | None) -> None:
        """Decides after a step of the optimizer, and counts the step."""

    def check_module(self) -> None:
        """Checks that the module holds the compressed parameters at their places, and nowhere else."""

    def check(self) -> None:
        """Checks the module, and that only known optimizers stepped it."""


class Record:
    """The state of one parameter that one or several methods compress.

    Attributes:
        chosen: the parameter and its places in the module.
        status: uint8 of the local shape: FREE, CUT (0 for now, keeps learning in the reserve), FROZEN (keeps its
            value) or PRUNED (0 for good).
        reserve: like the local values: the dense values of cut entries; during a step also those of frozen ones.
        has_frozen: whether freezing has begun.
        unknown_optimizers: names of unknown optimizers that stepped the parameter.
        in_step: whether a step is in progress, during which the parameter holds dense values.
        methods: the methods that use the record.
    """

    def __init__(self, chosen: Chosen) -> None:
        self.chosen = chosen
        self.status = torch.zeros_like(self.values, dtype=torch.uint8)
        self.reserve: Tensor | None = None
        self.in_step = False
        self.methods: list[AttachedMethod] = []
        self.unknown_optimizers: set[str] = set()
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
        """The part of the parameter in this process, sharing its memory."""
        return shards.local(self.chosen.parameter)

    @property
    def is_live(self) -> bool:
        """Whether masks may change: the parameter requires a gradient, and freezing has not begun."""
        return self.parameter.requires_grad and not self.has_frozen

    @property
    def is_stale(self) -> bool:
        """Whether a module that held the parameter now holds another one."""
        return any(home.owner._parameters.get(home.leaf) is not self.chosen.parameter for home in self.chosen.homes)

    def ensure_reserve(self) -> Tensor:
        """Returns the reserve; allocates it at its first use, so that a record costs one byte an entry until then."""
        if self.reserve is None:
            self.reserve = torch.zeros_like(self.values)
        return self.reserve

    @torch.no_grad()
    def load_dense(self) -> None:
        """Puts the dense values into the parameter, before a step."""
        if self.in_step:
            return
        self._follow()
        if self.reserve is not None:
            values = self.values
            if exchange.put_back(values, self.status, self.reserve, edited=values._version != self._version):
                self._project_frozen()
        self.in_step = True

    @torch.no_grad()
    def load_effective(self) -> None:
        """Puts the effective values into the parameter, after a step."""
        if not self.in_step:
            return
        exchange.take_out(self.values, self.status, self.reserve)
        self.in_step = False
        self.note_version()

    def note_version(self) -> None:
        """Notes the version of the parameter, so that later writes by others are noticed."""
        self._version = self.values._version

    def _follow(self) -> None:
        """Moves the record to the device, type and memory format of the parameter."""
        self.check_shape()
        values = self.values
        same_type = self.reserve is None or self.reserve.dtype == values.dtype
        if same_type and self.status.device == values.device and self.status.stride() == values.stride():
            return
        self.status = torch.empty_like(values, dtype=torch.uint8).copy_(self.status)
        if self.reserve is not None:
            self.reserve = torch.empty_like(values).copy_(self.reserve)

    def check_shape(self) -> None:
        """Checks that the parameter has kept its shape.

        Raises:
            MethodError: the parameter was given data of another shape.
        """
        if self.values.shape != self.status.shape:
            found, expected = tuple(self.values.shape), tuple(self.status.shape)
            names = " and ".join(type(method).__name__ for method in self.methods)
            raise MethodError(
                f"{self.name} has shape {found}; it had {expected} when {names} was attached; attach after layers are "
                "replaced"
            )

    def _project_frozen(self) -> None:
        """Projects frozen values that somebody else changed onto the grid."""
        for method in self.methods:
            method.project_frozen(self)

    @torch.no_grad()
    def set_status(self, status: Tensor) -> None:
        """Sets the state of every entry; moves the values of newly cut entries to the reserve, and others back.

        Args:
            status: uint8 of the local shape.
        """
        self._follow()
        values, reserve = self.values, self.ensure_reserve()
        back = (self.status == CUT) & (status != CUT) & (status != PRUNED) & (values == 0)
        values.copy_(torch.where(back, reserve, values))
        self.status.copy_(status)
        # somebody else wrote a cut value that is not zero: it replaces the one in the reserve
        reserve.copy_(torch.where((status == CUT) & (values != 0), values, reserve))
        values.masked_fill_((status == CUT) | (status == PRUNED), 0)
        self.note_version()

    @torch.no_grad()
    def restore(self, status: Tensor, reserve: Tensor | None = None) -> None:
        """Restores a saved state; sets cut and pruned entries of the parameter to 0.

        Args:
            status: uint8 of the local shape.
            reserve: like the local values: the dense values of cut entries.
        """
        self._follow()
        self.status.copy_(status)
        if reserve is not None:
            self.ensure_reserve().copy_(reserve)
        self.values.masked_fill_((self.status == CUT) | (self.status == PRUNED), 0)
        self.note_version()

    def count(self, *states: int) -> int:
        """Returns the number of entries in any of these states, over all shards."""
        found = torch.stack([(self.status == state).sum() for state in states]).sum()
        return int(shards.total(self.parameter, found))

    def nonzero(self) -> int:
        """Returns the number of nonzero entries, over all shards."""
        return int(shards.total(self.parameter, torch.count_nonzero(self.values)))


# weak on both sides: methods hold their records and optimizers their methods, so all of them end with the optimizer
_RECORDS: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def record_of(parameter: Tensor) -> Record | None:
    """Returns the record of a parameter, or None if no method uses it."""
    reference = _RECORDS.get(parameter)  # type: ignore[no-untyped-call]
    found: Record | None = reference() if reference is not None else None
    return found


def known_records() -> list[Record]:
    """Returns the records of all parameters that a method uses."""
    references = list(_RECORDS.values())  # type: ignore[no-untyped-call]
    return [record for record in (reference() for reference in references) if record is not None]


def record_for(chosen: Chosen) -> Record:
    """Returns the record of a chosen parameter, a new one if there is none; the caller must keep a reference to it."""
    record = record_of(chosen.parameter)
    if record is None:
        record = Record(chosen)
        _RECORDS[chosen.parameter] = ref(record)
    return record


def forget(record: Record) -> None:
    """Removes the record of a parameter that no method uses any more."""
    del _RECORDS[record.parameter]
