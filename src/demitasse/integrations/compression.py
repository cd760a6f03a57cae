"""The part that all integrations share: attaches methods, advances them with the training, and saves their state."""

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


class Compression:
    """The methods of one training run.

    Args:
        attach: a function of model and optimizer (or a list of optimizers) that attaches one or several methods and
            returns them.
        portions_from: the share of the training, 0 to 1, at which quantization freezes its first portion; the others
            follow at equal intervals up to the end.

    Attributes:
        methods: the attached methods; empty before and after the training.
        reports: the last reports of the methods, after the training.

    Raises:
        MethodError: ``attach`` is not a function, or ``portions_from`` is not a share below 1.
    """

    def __init__(self, attach: Attach, portions_from: float = 0.0) -> None:
        settings.function("attach", attach)
        if settings.share("portions_from", portions_from) == 1:
            raise MethodError("portions_from is 1; expected a share of the training, below 1")
        self.attach, self.portions_from = attach, portions_from
        self.methods: list[Method] = []
        self.reports: list[MethodReport] = []

    def start(self, model: nn.Module, optimizer: Any, state: Mapping[str, Tensor] | None = None) -> None:
        """Attaches the methods, and loads the state of an earlier run.

        Args:
            model: the model to compress.
            optimizer: its optimizer, or a list of optimizers.
            state: a state from :meth:`state_dict`, if any.

        Raises:
            UsageError: ``attach`` does not return methods.
            WeightsError: the state belongs to other methods.
        """
        self.finish()  # of an interrupted training
        found = self.attach(model, optimizer)
        # a quantization is iterable, too, but iterating would freeze it
        several = isinstance(found, Iterable) and not isinstance(found, Method)
        self.methods = list(found) if several else [found]  # type: ignore[arg-type, list-item]
        if not self.methods or not all(isinstance(method, Method) for method in self.methods):
            self.methods = []
            raise UsageError("attach returned no method; expected a Surgery, MagnitudePruning, ... or a list of them")
        self.reports = []
        if state is not None:
            self.load_state_dict(state)

    def advance(self, step: int, total: float) -> None:
        """Freezes the portions that are due before a step.

        Args:
            step: the next step, counted from 0.
            total: number of steps of the training.

        Raises:
            UsageError: there are portions to freeze, but the training has no end.
        """
        for method in self.methods:
            if isinstance(method, IncrementalQuantization):
                count = len(method.portions)
                if not 0 < total < math.inf:
                    raise UsageError("portions are shares of the training, but it has no end; set a number of steps")
                begins = [(self.portions_from + (1 - self.portions_from) * k / count) * total for k in range(count)]
                while method.stage < sum(begin <= step for begin in begins):
                    method.freeze()

    def metrics(self) -> dict[str, float]:
        """Returns the shares of zeros and of frozen entries in the compressed parameters."""
        found: dict[str, float] = {}
        for method in self.methods:
            report = method.report()
            found["sparsity"] = max(found.get("sparsity", 0.0), report.sparsity)
            if isinstance(method, IncrementalQuantization):
                found["frozen"] = report.frozen_share
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the states of all methods, with keys ``<number of the method>.<key of its state>``.

        Tensors are gathered: in a run with sharded parameters every process must call it.
        """
        return {
            f"{number}.{name}": shards.whole(tensor)
            for number, method in enumerate(self.methods)
            for name, tensor in method.state_dict().items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores states from :meth:`state_dict`.

        Raises:
            WeightsError: the states belong to other methods.
        """
        parts: dict[str, dict[str, Tensor]] = {}
        for key, tensor in state.items():
            number, _, name = key.partition(".")
            parts.setdefault(number, {})[name] = tensor
        if sorted(parts) != [str(number) for number in range(len(self.methods))]:
            raise WeightsError(f"the state has {len(parts)} methods; expected {len(self.methods)}")
        for index, method in enumerate(self.methods):
            method.load_state_dict(parts[str(index)])

    def finish(self) -> None:
        """Finishes the methods and keeps their reports."""
        # make all reports first: finishing one method changes the report of another
        self.reports = [method.report() for method in self.methods]
        for method in self.methods:
            method.finish()
        self.methods = []
