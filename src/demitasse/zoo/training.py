"""The training loop of the recipes. A run that was stopped resumes from its last checkpoint with the same bits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from demitasse.errors import DivergedError, SnapshotError
from demitasse.files import atomic_write
from demitasse.zoo.data.base import Batch, TrainingData

LOOK = 50  # steps between two checks of the loss, each of which waits for the device


class Stateful(Protocol):
    """An object with a state that a resume needs: an optimizer, a scheduler, a compression method."""

    def state_dict(self) -> Mapping[str, object]:
        """Returns the state."""

    def load_state_dict(self, state: Any, /) -> object:
        """Restores the state."""


@dataclass(frozen=True)
class Precision:
    """The precision and memory format in which a model computes.

    Attributes:
        bfloat16: whether convolutions and matrix products use bfloat16 (autocast); weights and updates stay float32.
        channels_last: whether images are stored pixel by pixel, which is faster.
    """

    bfloat16: bool = False
    channels_last: bool = False

    def context(self, device: torch.device) -> AbstractContextManager[object]:
        """Returns the context for a forward pass."""
        return torch.autocast(device.type, torch.bfloat16) if self.bfloat16 else nullcontext()

    def move(self, batch: Batch, device: torch.device) -> Batch:
        """Returns the batch on the device, in the memory format."""
        inputs, targets = (part.to(device, non_blocking=True) for part in batch)
        if self.channels_last and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return inputs, targets


FLOAT32 = Precision()


@torch.no_grad()
def evaluate(model: nn.Module, data: TrainingData, precision: Precision = FLOAT32) -> dict[str, float]:
    """Tests a model.

    Returns:
        Means over the test data: ``loss`` in nats and, for classification, ``error``, the share of wrong classes.
    """
    was_training = model.training
    device = _device(model)
    sums: dict[str, float] = {}
    model.eval()
    with precision.context(device):
        for batch in data.test_batches():
            for name, value in data.measure(model, precision.move(batch, device)).items():
                sums[name] = sums.get(name, 0.0) + value
    model.train(was_training)
    count = sums.pop("count")
    return {name: value / count for name, value in sums.items()}


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


@dataclass
class TrainingRun:
    """A training run and its position.

    Args:
        model: any module; it stays on its device.
        data: the data to train and test with.
        optimizer: the optimizer of the model.
        scheduler: a learning rate scheduler, stepped after every update.
        methods: name -> a method attached to the optimizer, whose state goes into the checkpoints.
        precision: precision and memory format of the computation.
        accumulate: number of batches in an update.
        clip: the largest norm of the gradient; 0 for no limit.
        on_step: called after every batch with the run.
        on_epoch: called after every epoch with its record.
        offset: number of epochs before this run, which its data continues.
        objective: (model, batch) -> the loss to train with; that of the data if it is None.

    Attributes:
        epoch: number of complete epochs.
        step: number of batches of the current epoch that are done.
        rate: the learning rate of the last update.
        history: a record of every epoch: ``epoch``, ``loss`` (mean in training), ``rate``, ``seconds`` (of training),
            and the results of the test as ``test_loss`` and so on.
    """

    model: nn.Module
    data: TrainingData
    optimizer: Optimizer
    scheduler: LRScheduler | None = None
    methods: Mapping[str, Stateful] = field(default_factory=dict)
    precision: Precision = FLOAT32
    accumulate: int = 1
    clip: float = 0.0
    on_step: Sequence[Callable[[TrainingRun], None]] = ()
    on_epoch: Sequence[Callable[[dict[str, float]], None]] = ()
    offset: int = 0
    objective: Callable[[nn.Module, Batch], Tensor] | None = None
    epoch: int = 0
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        # float64, so that the order of the additions does not matter
        self._sum = torch.zeros((), dtype=torch.float64, device=_device(self.model))
        self._seconds, self._since = 0.0, 0.0
        self.rate = self._next_rate()

    @property
    def loss(self) -> float:
        """The mean loss of the current epoch so far.

        Raises:
            DivergedError: the loss is not finite.
        """
        mean = self._sum.item() / max(self.step, 1)
        if mean - mean != 0:
            raise DivergedError(f"the loss is {mean} at step {self.step} of epoch {self.epoch + 1}; try a smaller lr")
        return mean

    def train(self, epochs: int, checkpoint: Path | None = None, every: int = 0, test: bool = True) -> None:
        """Trains until ``epochs`` epochs are complete.

        Args:
            epochs: number of epochs, those before a resume included.
            checkpoint: file for a checkpoint after every epoch.
            every: number of batches between further checkpoints; 0 for none.
            test: whether to test the model after every epoch.

        Raises:
            DivergedError: the loss is not finite; the last checkpoint was written before that.
        """
        while self.epoch < epochs:
            self._train_epoch(checkpoint, every, test)
            if checkpoint:
                self.save(checkpoint)

    def _train_epoch(self, checkpoint: Path | None, every: int, test: bool) -> None:
        self._since = time.perf_counter()
        self.model.train()
        for batch in self.data.train_batches(self.offset + self.epoch, self.step):
            self._train_batch(batch)
            if self.step % LOOK == 0:
                _ = self.loss
            for on_step in self.on_step:
                on_step(self)
            if checkpoint and every and self.step % every == 0 and self.step < self.data.steps:
                self.save(checkpoint)
        record = {"epoch": self.epoch + 1, "loss": self.loss, "rate": self.rate, "seconds": self._elapsed()}
        self.epoch, self.step, self._seconds = self.epoch + 1, 0, 0.0
        self._sum.zero_()
        if test:
            results = evaluate(self.model, self.data, self.precision)
            record |= {f"test_{name}": value for name, value in results.items()}
        self.history.append(record)
        for callback in self.on_epoch:
            callback(record)

    def _elapsed(self) -> float:
        """Returns the seconds of the current epoch so far, including those before a resume."""
        return self._seconds + time.perf_counter() - self._since

    def _train_batch(self, batch: Batch) -> None:
        device = self._sum.device
        with self.precision.context(device):
            loss = (self.objective or self.data.loss)(self.model, self.precision.move(batch, device))
        (loss / self.accumulate).backward()  # type: ignore[no-untyped-call]
        self._sum += loss.detach()
        self.step += 1
        if self.step % self.accumulate == 0 or self.step == self.data.steps:
            self._update()

    def _next_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _update(self) -> None:
        if self.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.rate = self._next_rate()
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.scheduler is not None:
            self.scheduler.step()

    def state_dict(self) -> dict[str, object]:
        """Returns everything a resume needs: tensors and plain values."""
        seconds = self._elapsed() if self.step else 0.0
        gradients = {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None}
        return {
            "model": self.model.state_dict(),
            "gradients": gradients,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "methods": {name: method.state_dict() for name, method in self.methods.items()},
            "position": {"epoch": self.epoch, "step": self.step, "sum": self._sum, "seconds": seconds},
            "history": self.history,
            "random": _random_state(self._sum.device),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores a state from :meth:`state_dict`."""
        self.model.load_state_dict(state["model"])
        for name, parameter in self.model.named_parameters():
            gradient: Tensor | None = state["gradients"].get(name)
            parameter.grad = None if gradient is None else gradient.to(parameter)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler:
            self.scheduler.load_state_dict(state["scheduler"])
        for name, method in self.methods.items():
            method.load_state_dict(state["methods"][name])
        position = state["position"]
        self.epoch, self.step, self._seconds = position["epoch"], position["step"], position["seconds"]
        self._sum.copy_(position["sum"])
        self.history = list(state["history"])
        _set_random_state(state["random"], self._sum.device)

    def save(self, path: Path) -> None:
        """Writes a checkpoint; the file is complete at any moment.

        Raises:
            DivergedError: the loss is not finite.
        """
        _ = self.loss
        with atomic_write(path) as file:
            torch.save(self.state_dict(), file)

    def resume(self, path: Path) -> bool:
        """Resumes from a checkpoint; returns whether there is one.

        Raises:
            SnapshotError: the checkpoint is broken, or belongs to another training.
        """
        if not path.exists():
            return False
        device = self._sum.device
        try:
            self.load_state_dict(torch.load(path, map_location=device, weights_only=True))
        except Exception as error:
            raise SnapshotError(f"{path}: cannot resume from this file: {error}; delete it to start again") from error
        return True


def _random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _set_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"].cpu())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
