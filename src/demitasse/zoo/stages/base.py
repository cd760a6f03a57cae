"""The base classes of stages of recipes: their settings, and how they change a model."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

import torch
from torch import nn
from torch.optim import Optimizer
from typing_extensions import override

from demitasse.errors import DemitasseError, UsageError
from demitasse.methods import settings
from demitasse.registry import Registry, suggest
from demitasse.zoo.data.base import TrainingData
from demitasse.zoo.distillation import Distillation
from demitasse.zoo.optimizers import OPTIMIZERS, make_optimizer
from demitasse.zoo.records import CHECKPOINT
from demitasse.zoo.schedules import SCHEDULES, scheduler
from demitasse.zoo.training import Precision, Stateful, TrainingRun

QUICK = 10  # divides the epochs of a quick run


def _no_teacher() -> nn.Module:
    raise UsageError("distill: there is no teacher")


@dataclass
class Work:
    """What a stage works on.

    Attributes:
        model: the model, which the stage changes.
        data: the data to train and test with.
        folder: an existing folder for this stage only.
        seed: seed of the methods.
        every: number of batches between checkpoints.
        offset: number of epochs that earlier stages trained.
        on_step: called after every batch with (the run, the number of batches of the stage).
        on_epoch: called after every epoch with its record.
        teacher: returns the model that stages with ``distill`` learn from.
    """

    model: nn.Module
    data: TrainingData
    folder: Path
    seed: int = 1
    every: int = 0
    offset: int = 0
    on_step: Callable[[TrainingRun, int], None] = lambda run, total: None
    on_epoch: Callable[[dict[str, float]], None] = lambda record: None
    teacher: Callable[[], nn.Module] = _no_teacher


@dataclass(frozen=True)
class Outcome:
    """What a stage returns in addition to the changed model.

    Attributes:
        history: a record of every epoch, see :class:`demitasse.zoo.training.TrainingRun`.
        report: the method's report, as plain data.
        file: the file for shipping that the stage wrote, if any.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    report: object = None
    file: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Stage(ABC):
    """The settings of a stage: the keys of its table in a recipe.

    Attributes:
        name: a name for people; the kind if it is empty.
    """

    kind: ClassVar[str] = ""
    compresses: ClassVar[bool] = False  # whether plain training afterwards would undo its effect
    # the settings that a recipe's key ``proposal`` takes from a file of sensitivity, as far as that has them
    proposed: ClassVar[tuple[Literal["sparsity", "bits"], ...]] = ()

    name: str = ""

    def check(self, place: str, before: Sequence[Stage]) -> None:
        """Checks the settings, on their own and after the previous stages.

        Args:
            place: file and table, for messages.
            before: the previous stages.

        Raises:
            UsageError: a setting is invalid.
            MethodError: a setting of a method is invalid.
        """
        if "/" in self.name or "#" in self.name:
            raise UsageError(f"{place}: name is {self.name!r}; expected a name without '/' and '#'")

    def quick(self) -> Self:
        """Returns the settings for a quick run: a tenth of the epochs, and targets that are reached in them."""
        return self

    def rehearse(self, work: Work) -> None:  # noqa: B027, many stages have nothing to check
        """Checks what depends on the model, before the first stage of the recipe runs.

        Args:
            work: with a model of its own on the CPU, as that first stage finds it, which may be changed; the folder may
                be missing.

        Raises:
            DemitasseError: as :meth:`run` raises it.
        """

    @abstractmethod
    def run(self, work: Work) -> Outcome:
        """Runs the stage; resumes from the checkpoint in the work's folder, if there is one."""


STAGES: Registry[type[Stage]] = Registry("kind of stage")


@dataclass(frozen=True, kw_only=True)
class TrainingStage(Stage):
    """A stage that trains.

    Attributes:
        epochs: number of passes over the training data.
        lr: the largest learning rate.
        optimizer: an entry of ``OPTIMIZERS``.
        momentum: momentum of the optimizer, if it has one.
        nesterov: whether the optimizer uses Nesterov's momentum.
        betas: the two betas of Adam.
        weight_decay: decay of weights; biases and normalization do not decay.
        schedule: an entry of ``SCHEDULES``.
        warmup: share of the stage, 0 to 1, in which the learning rate rises to ``lr``.
        clip: the largest norm of the gradient; 0 for no limit.
        accumulate: number of batches in an update.
        bfloat16: see :class:`demitasse.zoo.training.Precision`.
        channels_last: see :class:`demitasse.zoo.training.Precision`.
        distill: the share of the loss that comes from the teacher, 0 to 1; see
            :class:`demitasse.zoo.distillation.Distillation`.
        temperature: of the teacher's and the model's predictions in that part of the loss.
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
    distill: float = 0.0
    temperature: float = 4.0

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
            for key in ("warmup", "distill"):
                settings.share(key, getattr(self, key))
            settings.number("temperature", self.temperature)
            settings.share("momentum", self.momentum or 0.0)
            for beta in self.betas:
                settings.number("betas", beta)
        if self.temperature <= 0:
            raise UsageError(f"{place}: temperature is {self.temperature:g}; expected more than 0")
        known_keys = inspect.signature(OPTIMIZERS[self.optimizer]).parameters
        for key in self._optimizer_settings():
            if key not in known_keys:
                raise UsageError(f"{place}: optimizer {self.optimizer} has no {key}")
        if self.nesterov and not self.momentum:
            raise UsageError(f"{place}: nesterov is true, but momentum is missing or 0")
        if self.betas and (len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas)):
            raise UsageError(f"{place}: betas is {list(self.betas)}; expected two numbers, 0 or more and below 1")

    def _optimizer_settings(self) -> dict[str, object]:
        settings = {"momentum": self.momentum, "nesterov": self.nesterov or None, "betas": self.betas or None}
        return {key: value for key, value in settings.items() if value is not None}

    @override
    def quick(self) -> Self:
        return replace(self, epochs=max(self.epochs // QUICK, 1))

    @property
    def precision(self) -> Precision:
        """The precision and memory format of the model."""
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
        """Returns the training run, resumed from the stage's checkpoint if there is one.

        Args:
            work: what the stage works on.
            optimizer: the optimizer from :meth:`make_optimizer`.
            methods: name -> a method attached to the optimizer.
            cycles: how many times the stage trains ``epochs``; the learning rate schedule starts again each time.
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
            objective=self._objective(work),
        )
        run.resume(work.folder / CHECKPOINT)
        return run

    def _objective(self, work: Work) -> Distillation | None:
        if not self.distill:
            return None
        with torch.random.fork_rng(devices=()):  # its initial weights leave the randomness of the training as it is
            teacher = work.teacher().eval()
        if self.channels_last:
            teacher.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return Distillation(work.data, teacher, self.distill, self.temperature)

    def train(self, work: Work, run: TrainingRun, epochs: int) -> None:
        """Trains until ``epochs`` epochs of the stage are complete, with checkpoints."""
        run.train(epochs, work.folder / CHECKPOINT, work.every)


@contextmanager
def at(place: str) -> Iterator[None]:
    """Adds a place to the errors about settings that are raised inside.

    Raises:
        DemitasseError: the error raised inside, with the place before its message.
    """
    try:
        yield
    except DemitasseError as error:
        raise error.within(place) from error
