"""What a stage of a recipe is: settings, and what they do to a model."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import nn
from torch.optim import Optimizer
from typing_extensions import override

from demitasse.errors import MethodError, UsageError
from demitasse.methods import settings
from demitasse.registry import Registry, suggest
from demitasse.zoo.data.base import TrainingData
from demitasse.zoo.optimizers import OPTIMIZERS, make_optimizer
from demitasse.zoo.schedules import SCHEDULES, scheduler
from demitasse.zoo.training import Precision, Stateful, TrainingRun

CHECKPOINT = "checkpoint.pt"
QUICK = 10  # divides the epochs of a quick run


@dataclass
class Work:
    """What a stage works on.

    Attributes:
        model: is changed.
        data: to train and test with.
        folder: of the stage alone; it exists.
        seed: of the methods.
        every: a checkpoint is written after so many batches.
        offset: epochs that earlier stages trained.
        on_step: is told of every batch: the run, and the number of batches of the whole stage.
        on_epoch: is told of every epoch.
    """

    model: nn.Module
    data: TrainingData
    folder: Path
    seed: int = 1
    every: int = 0
    offset: int = 0
    on_step: Callable[[TrainingRun, int], None] = lambda run, total: None
    on_epoch: Callable[[dict[str, float]], None] = lambda record: None


@dataclass(frozen=True)
class Outcome:
    """What a stage says of itself; the model itself is in the work.

    Attributes:
        history: of every epoch, see :class:`demitasse.zoo.training.TrainingRun`.
        report: of the method, as plain data.
        file: that the stage made to be shipped.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    report: Any = None
    file: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Stage(ABC):
    """Settings of a stage: the keys of its table in a recipe.

    Attributes:
        name: for people; the kind where it is empty.
    """

    kind: ClassVar[str] = ""
    compresses: ClassVar[bool] = False  # leaves weights that plain training would spoil

    name: str = ""

    def check(self, place: str, before: Sequence[Stage]) -> None:
        """Refuses settings that have no meaning, here or behind the stages before.

        Raises:
            UsageError: says what is expected.
        """
        if "/" in self.name or "#" in self.name:
            raise UsageError(f"{place}: name is {self.name!r}; expected a name without '/' and '#'")

    def quick(self) -> Self:
        """Returns the settings for a first look: a tenth of the epochs, and targets that so few epochs can reach."""
        return self

    @abstractmethod
    def run(self, work: Work) -> Outcome:
        """Does it; goes on from the checkpoint in the work's folder, where there is one."""


STAGES: Registry[type[Stage]] = Registry("kind of stage")


@dataclass(frozen=True, kw_only=True)
class TrainingStage(Stage):
    """A stage that trains.

    Attributes:
        epochs: passes over the training data.
        lr: the largest learning rate.
        optimizer: an entry of ``OPTIMIZERS``.
        momentum, nesterov, betas: of the optimizer, where it has them.
        weight_decay: of weights; biases and normalization do not decay.
        schedule: an entry of ``SCHEDULES``.
        warmup: share of the stage in which the learning rate rises to ``lr``.
        clip: the largest norm of the gradient; 0 for no limit.
        accumulate: batches that make an update.
        bfloat16, channels_last: see :class:`demitasse.zoo.training.Precision`.
    """

    epochs: int
    lr: float
    optimizer: str = "sgd"
    momentum: float | None = None
    nesterov: bool = False
    betas: tuple[float, ...] = ()
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup: float = 0.0
    clip: float = 0.0
    accumulate: int = 1
    bfloat16: bool = False
    channels_last: bool = False

    @override
    def check(self, place: str, before: Sequence[Stage]) -> None:
        super().check(place, before)
        for key, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            value: str = getattr(self, key)
            if value not in known:
                raise UsageError(f"{place}: {key} is {value!r}; {suggest(value, list(known))}")
        with at(place):
            for key in ("epochs", "accumulate"):
                settings.whole(key, getattr(self, key), 1)
            for key in ("lr", "weight_decay", "clip"):
                settings.number(key, getattr(self, key), 0)
            settings.share("warmup", self.warmup)
            settings.share("momentum", self.momentum or 0.0)
            for beta in self.betas:
                settings.number("betas", beta)
        known_keys = inspect.signature(OPTIMIZERS[self.optimizer]).parameters
        for key in self._optimizer_settings():
            if key not in known_keys:
                raise UsageError(f"{place}: {self.optimizer} has no {key}")
        if self.nesterov and not self.momentum:
            raise UsageError(f"{place}: nesterov is set without momentum")
        if self.betas and (len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas)):
            raise UsageError(f"{place}: betas is {list(self.betas)}; expected two numbers from 0 to below 1")

    def _optimizer_settings(self) -> dict[str, Any]:
        settings = {"momentum": self.momentum, "nesterov": self.nesterov or None, "betas": self.betas or None}
        return {key: value for key, value in settings.items() if value is not None}

    @override
    def quick(self) -> Self:
        return replace(self, epochs=max(self.epochs // QUICK, 1))

    @property
    def precision(self) -> Precision:
        """How the model computes."""
        return Precision(self.bfloat16, self.channels_last)

    def make_optimizer(self, work: Work) -> Optimizer:
        """Returns the optimizer of the work's model."""
        return make_optimizer(self.optimizer, work.model, self.lr, self.weight_decay, **self._optimizer_settings())

    def updates(self, work: Work) -> int:
        """Returns the number of updates in ``epochs``."""
        return self.epochs * -(-work.data.steps // self.accumulate)

    def make_run(
        self, work: Work, optimizer: Optimizer, methods: Mapping[str, Stateful] | None = None, cycles: int = 1
    ) -> TrainingRun:
        """Returns the training, which stands where the stage's checkpoint left it.

        Args:
            work: see :class:`Work`.
            optimizer: of :meth:`make_optimizer`.
            methods: what rides on it.
            cycles: how often the stage trains ``epochs``; the learning rate starts anew each time.
        """
        total = cycles * self.epochs * work.data.steps
        run = TrainingRun(
            work.model,
            work.data,
            optimizer,
            scheduler(optimizer, self.schedule, self.updates(work), self.warmup),
            methods=methods or {},
            precision=self.precision,
            accumulate=self.accumulate,
            clip=self.clip,
            on_step=[lambda run: work.on_step(run, total)],
            on_epoch=[work.on_epoch],
            offset=work.offset,
        )
        run.resume(work.folder / CHECKPOINT)
        return run

    def train(self, work: Work, run: TrainingRun, epochs: int) -> None:
        """Trains until so many epochs of the stage are complete, with checkpoints."""
        run.train(epochs, work.folder / CHECKPOINT, work.every)


@contextmanager
def at(place: str) -> Iterator[None]:
    """Says where the settings stand that are refused inside.

    Raises:
        MethodError: what was refused, with the place before it.
    """
    try:
        yield
    except MethodError as error:
        raise error.within(place) from error
