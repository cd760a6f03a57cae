"""What all integrations share: methods that are attached late, advance with the training, and are saved with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from demitasse.errors import MethodError, UsageError, WeightsError
from demitasse.methods import settings, shards
from demitasse.methods.incremental import IncrementalQuantization
from demitasse.methods.method import Method
from demitasse.methods.report import MethodReport

Attach = Callable[[nn.Module, Any], Method | Iterable[Method]]


class Riding:
    """The methods of one training run.

    Args:
        attach: given model and optimizer (or a list of them), attaches one method or several and returns them.
        portions_from: the share of the training, 0 to 1, at which quantization freezes its first portion; the others
            follow at equal distances, and the last is trained as long as each.

    Attributes:
        methods: those that are attached; none before the training.
        reports: what the methods said at their end.

    Raises:
        MethodError: ``attach`` is no function, or ``portions_from`` no share.
    """

    def __init__(self, attach: Attach, portions_from: float = 0.0) -> None:
        settings.function("attach", attach)
        if settings.share("portions_from", portions_from) == 1:
            raise MethodError("portions_from is 1; expected a share of the training, below 1")
        self.attach, self.portions_from = attach, portions_from
        self.methods: list[Method] = []
        self.reports: list[MethodReport] = []

    def start(self, model: nn.Module, optimizer: Any, state: Mapping[str, Tensor] | None = None) -> None:
        """Attaches the methods, and takes up the state of an earlier run.

        Raises:
            UsageError: what ``attach`` returns is no method.
            WeightsError: the state is of other methods.
        """
        self.finish()  # of a training that broke off
        found = self.attach(model, optimizer)
        # one that quantizes can be iterated, too, which would freeze it
        several = isinstance(found, Iterable) and not isinstance(found, Method)
        self.methods = list(found) if several else [found]  # type: ignore[arg-type, list-item]
        if not self.methods or not all(isinstance(method, Method) for method in self.methods):
            self.methods = []
            raise UsageError("attach returned no method; expected a Surgery, MagnitudePruning, ... or a list of them")
        self.reports = []
        if state is not None:
            self.load_state_dict(state)

    def advance(self, step: int, total: float) -> None:
        """Freezes the portions that are due before a step, of so many.

        Raises:
            UsageError: there are portions to freeze, but no end of the training to share out.
        """
        for method in self.methods:
            if isinstance(method, IncrementalQuantization):
                count = len(method.portions)
                if not 0 < total < math.inf:
                    raise UsageError("portions are shares of the training, which has no end; set a number of steps")
                begins = [(self.portions_from + (1 - self.portions_from) * k / count) * total for k in range(count)]
                while method.stage < sum(begin <= step for begin in begins):
                    method.freeze()

    def metrics(self) -> dict[str, float]:
        """Returns the share of zeros, and of frozen entries, among what the methods compress."""
        found: dict[str, float] = {}
        for method in self.methods:
            report = method.report()
            found["sparsity"] = max(found.get("sparsity", 0.0), report.sparsity)
            if isinstance(method, IncrementalQuantization):
                found["frozen"] = report.frozen_share
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the states of all methods: number of the method, a dot, and the name within its state.

        Tensors are whole: in a run with sharded parameters every process must call it.
        """
        return {
            f"{number}.{name}": shards.whole(tensor)
            for number, method in enumerate(self.methods)
            for name, tensor in method.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Takes the states back.

        Raises:
            WeightsError: they are of other methods.
        """
        parts: dict[str, dict[str, Tensor]] = {}
        for key, tensor in state.items():
            number, _, name = key.partition(".")
            parts.setdefault(number, {})[name] = tensor
        if sorted(parts) != [str(number) for number in range(len(self.methods))]:
            raise WeightsError(f"the state is of {len(parts)} methods; expected {len(self.methods)}")
        for index, method in enumerate(self.methods):
            method.load_state_dict(parts[str(index)])

    def finish(self) -> None:
        """Ends the methods and keeps their reports."""
        # all reports first: the end of one method changes what another says
        self.reports = [method.report() for method in self.methods]
        for method in self.methods:
            method.finish()
        self.methods = []
