"""Training with pruning: by surgery, and by magnitude."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import nn
from torch.optim import Optimizer
from typing_extensions import override

from demitasse.errors import UsageError
from demitasse.methods import floors, settings
from demitasse.methods.magnitude import MagnitudePruning
from demitasse.methods.method import Method
from demitasse.methods.surgery import Schedule, Surgery
from demitasse.zoo.stages.base import STAGES, Outcome, Stage, TrainingStage, Work, at

Targets = float | dict[str, float] | None
_QUICK_C_RATE = 0.6  # factor of c_rate in a quick run, whose few updates cannot repair as many cuts


@dataclass(frozen=True, kw_only=True)
class PruningStage(TrainingStage):
    """A stage that cuts weights.

    Attributes:
        sparsity: the final share of weights that are cut: one number for all, or one for each name pattern.
        parameters: name patterns of what to prune; empty for the weights of linear and convolution layers.
        exclude: name patterns of what not to prune.
        scope: ``global`` for one threshold for all layers, or ``layer``.
        begin: share of the stage before the first cut, 0 to 1.
        ramp: share of the stage in which the sparsity rises to its target, 0 to 1.
        floor: the least share of its weights that each layer keeps.
    """

    compresses = True
    proposed = ("sparsity",)

    sparsity: Targets = None
    parameters: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    scope: str = "global"
    begin: float = 0.0
    ramp: float = 0.5
    floor: float = floors.FLOOR

    @override
    def check(self, place: str, before: Sequence[Stage]) -> None:
        super().check(place, before)
        with at(place):
            if self.sparsity is not None:
                settings.each("sparsity", self.sparsity, settings.share)
            for key in ("begin", "ramp"):
                settings.share(key, getattr(self, key))
            settings.one_of("scope", self.scope, ("global", "layer"))
            targets = self.sparsity.values() if isinstance(self.sparsity, dict) else [self.sparsity or 0.0]
            floors.checked(self.floor, targets)
        if any(stage.kind == "quantize" for stage in before):
            raise UsageError(f"{place}: comes after quantize, which freezes all weights; expected it before quantize")

    @override
    def quick(self) -> Self:
        """Returns milder settings: the share that is kept becomes its square root, so 99 % sparsity becomes 90 %."""
        return replace(super().quick(), sparsity=_each(self.sparsity, lambda target: 1 - (1 - target) ** 0.5))

    @override
    def rehearse(self, work: Work) -> None:
        self._attached(work, self.make_optimizer(work))

    def _attached(self, work: Work, optimizer: Optimizer) -> Method:
        return self.attach(work.model, optimizer, self.updates(work), work.seed)

    @override
    def run(self, work: Work) -> Outcome:
        optimizer = self.make_optimizer(work)
        method = self._attached(work, optimizer)
        run = self.make_run(work, optimizer, {self.kind: method})
        self.train(work, run, self.epochs)
        return Outcome(run.history, method.finish().as_plain())

    @abstractmethod
    def attach(self, model: nn.Module, optimizer: Optimizer, updates: int, seed: int) -> Method:
        """Attaches the method and returns it.

        Args:
            model: the model to prune.
            optimizer: the optimizer of the model.
            updates: number of updates of the stage, which turns shares of the stage into steps.
            seed: seed of the method.
        """

    def _common(self, updates: int) -> dict[str, Any]:
        return {
            "sparsity": self.sparsity,
            "parameters": list(self.parameters) or None,
            "exclude": self.exclude,
            "scope": self.scope,
            "begin": round(self.begin * updates),
            "ramp": round(self.ramp * updates),
            "floor": self.floor,
        }


def _each(targets: Targets, change: Callable[[float], float]) -> Targets:
    """Returns the targets with a change applied to each."""
    if isinstance(targets, dict):
        return {name: change(target) for name, target in targets.items()}
    return None if targets is None else change(targets)


@STAGES.register("surgery")
@dataclass(frozen=True, kw_only=True)
class SurgeryStage(PruningStage):
    """Dynamic Network Surgery, which can splice cut weights back.

    Attributes:
        c_rate: instead of ``sparsity``, the threshold in standard deviations above the mean magnitude.
        gamma: see :class:`demitasse.Surgery`.
        power: see :class:`demitasse.Surgery`.
        alpha_low: see :class:`demitasse.Surgery`.
        alpha_high: see :class:`demitasse.Surgery`.
        stop: share of the stage after which masks no longer change, 0 to 1.
    """

    kind = "surgery"

    c_rate: Targets = None
    gamma: float = 0.001
    power: float = 1.0
    alpha_low: float = 0.95
    alpha_high: float = 1.05
    stop: float = 0.75

    @override
    def check(self, place: str, before: Sequence[Stage]) -> None:
        super().check(place, before)
        with at(place):
            settings.share("stop", self.stop)
            for key in ("gamma", "power", "alpha_low", "alpha_high"):
                settings.number(key, getattr(self, key), 0)
            if self.c_rate is not None:
                settings.each("c_rate", self.c_rate, settings.number)
            Schedule(0.0, self.gamma, self.power, self.stop, self.alpha_low, self.alpha_high)
        if self.sparsity is not None and self.begin + self.ramp >= self.stop:
            raise UsageError(
                f"{place}: stop is {self.stop:g}; expected more than begin + ramp, {self.begin + self.ramp:g}, where "
                "the target is reached"
            )
        if (self.sparsity is None) == (self.c_rate is None):
            raise UsageError(f"{place}: expected one of sparsity and c_rate")

    @override
    def quick(self) -> Self:
        """Returns milder settings, with a smaller ``c_rate`` too."""
        return replace(super().quick(), c_rate=_each(self.c_rate, lambda rate: _QUICK_C_RATE * rate))

    @override
    def attach(self, model: nn.Module, optimizer: Optimizer, updates: int, seed: int) -> Surgery:
        return Surgery(
            model,
            optimizer,
            c_rate=self.c_rate,  # type: ignore[arg-type]
            gamma=self.gamma,
            power=self.power,
            alpha_low=self.alpha_low,
            alpha_high=self.alpha_high,
            stop=round(self.stop * updates),
            seed=seed,
            **self._common(updates),
        )


@STAGES.register("magnitude")
@dataclass(frozen=True, kw_only=True)
class MagnitudeStage(PruningStage):
    """Gradual magnitude pruning, where cut weights stay cut.

    Attributes:
        every: number of updates from one cut to the next.
    """

    kind = "magnitude"

    every: int = 1

    @override
    def check(self, place: str, before: Sequence[Stage]) -> None:
        super().check(place, before)
        if self.sparsity is None:
            raise UsageError(f"{place}: sparsity is missing")
        with at(place):
            settings.whole("every", self.every, 1)

    @override
    def attach(self, model: nn.Module, optimizer: Optimizer, updates: int, seed: int) -> MagnitudePruning:
        return MagnitudePruning(model, optimizer, every=self.every, **self._common(updates))
