"""The base class of data sets, whose batches depend only on seed and epoch, so that a resume sees the same ones."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from demitasse.arrays import Array
from demitasse.preparation import Preparation
from demitasse.registry import Registry

Batch = tuple[Tensor, Tensor]


class TrainingData(ABC):
    """A data set to train and to test with.

    Args:
        batch: number of examples in a training batch; the last, smaller batch of an epoch is left out.
        seed: seed of order and augmentation.
        test_batch: number of examples in a test batch.

    Attributes:
        metric: the key of :func:`demitasse.zoo.training.evaluate` that rates a model; less is better.
        preparation: how an image becomes an input like those of the data; None where inputs are not images.
        classes: the names of the classes, in order; empty where they are numbers, or where there are none.
    """

    metric = "error"
    preparation: Preparation | None = None
    classes: Sequence[str] = ()

    def __init__(self, batch: int = 128, seed: int = 1, test_batch: int = 500) -> None:
        self.batch, self.seed, self.test_batch = batch, seed, test_batch

    @property
    @abstractmethod
    def examples(self) -> int:
        """The number of training examples."""

    @property
    def steps(self) -> int:
        """The number of training batches in an epoch."""
        return max(self.examples // self.batch, 1)

    def train_batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch, from number ``start`` on."""
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

    @abstractmethod
    def test_batches(self) -> Iterator[Batch]:
        """Yields all test examples, in order."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns the mean loss of a batch, a scalar with a gradient."""

    @abstractmethod
    def measure(self, model: nn.Module, batch: Batch) -> dict[str, float]:
        """Returns sums over a test batch: ``count`` of predictions, ``loss`` in nats, and other metrics."""


# a function of the user's path or None, and of the settings of the data as keywords
DATASETS: Registry[Callable[..., TrainingData]] = Registry("data set")


def cache_folder() -> Path:
    """Returns the folder for prepared data: ``$XDG_CACHE_HOME/demitasse``, else ``~/.cache/demitasse``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "demitasse"


def as_tensor(array: Array) -> Tensor:
    """Returns a tensor of the array; it shares the memory if the array is writable and contiguous."""
    return torch.from_numpy(np.require(array, requirements=("C", "W")))
