"""The base class of data sets, whose batches depend only on seed and epoch, so that a resume sees the same ones."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from demitasse.arrays import Array
from demitasse.errors import UsageError
from demitasse.preparation import Preparation
from demitasse.registry import Registry

Batch = tuple[Tensor, Tensor]


class TrainingData(ABC):
    """A data set to train and to test with.

    Attributes:
        metric: the key of :func:`demitasse.zoo.training.evaluate` that rates a model; less is better.
        preparation: how an image becomes an input like those of the data; None where inputs are not images.
        classes: the names of the classes, in order; empty where they are numbers, or where there are none.
        notes: what the user should know of the data, such as how it was split; a line each.
        class_axis: the axis of a model's outputs that has a value for each class.
    """

    metric = "error"
    class_axis = 1
    preparation: Preparation | None = None
    classes: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    @abstractmethod
    def steps(self) -> int:
        """The number of training batches in an epoch, at least 1."""

    @abstractmethod
    def train_batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch, from number ``start`` on; they depend on the seed and the epoch alone."""

    @abstractmethod
    def test_batches(self) -> Iterator[Batch]:
        """Yields all test examples, in order."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns the mean loss of a batch, a scalar with a gradient."""

    @abstractmethod
    def measure(self, model: nn.Module, batch: Batch) -> dict[str, float]:
        """Returns sums over a test batch: ``count`` of predictions, ``loss`` in nats, and other metrics."""


class SampledData(TrainingData):
    """A data set whose training batches are made from draws: random numbers for each example of an epoch.

    Args:
        batch: number of examples in a training batch; the last, smaller batch of an epoch is left out.
        seed: seed of order and augmentation.
        test_batch: number of examples in a test batch.

    Raises:
        UsageError: a batch has no examples.
    """

    def __init__(self, batch: int = 128, seed: int = 1, test_batch: int = 500) -> None:
        check_batches(batch, test_batch)
        self.batch, self.seed, self.test_batch = batch, seed, test_batch

    @property
    @abstractmethod
    def examples(self) -> int:
        """The number of training examples."""

    @property
    @override
    def steps(self) -> int:
        return max(self.examples // self.batch, 1)

    @override
    def train_batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        random = np.random.default_rng([self.seed, epoch])
        draws = self.draw(random)
        for step in range(start, self.steps):
            yield self.train_batch(draws[step * self.batch : (step + 1) * self.batch])

    @abstractmethod
    def draw(self, random: np.random.Generator) -> Array:
        """Returns all random choices of an epoch: (examples, ...) integers, one row for each example, in order."""

    @abstractmethod
    def train_batch(self, draws: Array) -> Batch:
        """Returns the batch that these rows of :meth:`draw` describe."""


def check_batches(batch: int, test_batch: int) -> None:
    """Checks the sizes of batches.

    Raises:
        UsageError: a batch has no examples.
    """
    for name, value in (("batch", batch), ("test_batch", test_batch)):
        if value < 1:
            raise UsageError(f"{name} is {value}; expected 1 or more")


# a function of the user's path or None, and of the settings of the data as keywords
DATASETS: Registry[Callable[..., TrainingData]] = Registry("data set")


def cache_folder() -> Path:
    """Returns the folder for prepared data: ``$XDG_CACHE_HOME/demitasse``, else ``~/.cache/demitasse``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "demitasse"


def as_tensor(array: Array) -> Tensor:
    """Returns a tensor of the array; it shares the memory if the array is writable and contiguous."""
    return torch.from_numpy(np.require(array, requirements=("C", "W")))
