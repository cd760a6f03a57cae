"""What a data set is trained or tested with: tensors, a Dataset or a DataLoader, in batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from typing_extensions import override

from demitasse.arrays import Array
from demitasse.errors import DataError
from demitasse.zoo.data.base import Batch
from demitasse.zoo.data.checks import checked_batch


class Examples(ABC):
    """Examples to train or to test with.

    Attributes:
        steps: number of training batches in an epoch.
    """

    steps: int

    @abstractmethod
    def shuffled(self, random: np.random.Generator, start: int) -> Iterator[Batch]:
        """Yields the training batches of an epoch from number ``start`` on, in an order that ``random`` decides."""

    @abstractmethod
    def in_order(self) -> Iterator[Batch]:
        """Yields all examples in batches, always the same."""


class TensorExamples(Examples):
    """Examples in memory.

    Args:
        inputs: (n, ...) float32 or int64.
        labels: (n, ...) int64.
        batch: number of examples in a batch; the last, smaller training batch is left out.
    """

    def __init__(self, inputs: Tensor, labels: Tensor, batch: int) -> None:
        self.inputs, self.labels, self.batch = inputs, labels, batch
        self.steps = max(len(labels) // batch, 1)

    @override
    def shuffled(self, random: np.random.Generator, start: int) -> Iterator[Batch]:
        order = torch.from_numpy(random.permutation(len(self.labels)))
        for step in range(start, self.steps):
            which = order[step * self.batch : (step + 1) * self.batch]
            yield self.inputs[which], self.labels[which]

    @override
    def in_order(self) -> Iterator[Batch]:
        for first in range(0, len(self.labels), self.batch):
            part = slice(first, first + self.batch)
            yield self.inputs[part], self.labels[part]


class DatasetExamples(Examples):
    """A map-style Dataset of (input, label), or some of its examples.

    What the Dataset draws from torch's random numbers depends on the epoch and the example alone, so that a resumed run
    sees the same; random numbers of other libraries do not.

    Args:
        dataset: the Dataset.
        batch: number of examples in a batch; the last, smaller training batch is left out.
        place: of the data, for messages.
        indices: the examples; None for all.

    Raises:
        DataError: the Dataset has no length, or no examples.
    """

    def __init__(self, dataset: Dataset[Any], batch: int, place: str, indices: Array | None = None) -> None:
        total = length_of(dataset, place)
        self.dataset, self.batch, self.place = dataset, batch, place
        self.indices = np.arange(total) if indices is None else indices
        self.steps = max(len(self.indices) // batch, 1)

    @override
    def shuffled(self, random: np.random.Generator, start: int) -> Iterator[Batch]:
        order = random.permutation(len(self.indices))
        seeds = random.integers(0, 1 << 63, len(order))
        for step in range(start, self.steps):
            part = slice(step * self.batch, (step + 1) * self.batch)
            yield self._batch(self.indices[order[part]], seeds[part])

    @override
    def in_order(self) -> Iterator[Batch]:
        for first in range(0, len(self.indices), self.batch):
            which = self.indices[first : first + self.batch]
            yield self._batch(which, which)

    def _batch(self, which: Array, seeds: Array) -> Batch:
        found = []
        for index, seed in zip(which, seeds, strict=True):
            with TorchRandom(int(seed)).active():
                found.append(self._example(int(index)))
        inputs, labels = (default_collate(list(part)) for part in zip(*found, strict=True))
        return checked_batch(inputs, labels, f"{self.place}: examples {which[0]}, ...")

    def _example(self, index: int) -> Sequence[object]:
        try:
            example = self.dataset[index]
        except DataError as error:
            raise error.within(f"{self.place}: example {index}") from error
        except Exception as error:  # of the user's code
            raise DataError(f"{self.place}: example {index} raised {type(error).__name__}: {error}") from error
        return pair_of(example, f"{self.place}: example {index}")


class LoaderExamples(Examples):
    """A DataLoader of batches (inputs, labels), as it is.

    Its torch random numbers depend on the seed and the epoch alone, so that a resumed run sees the same.

    Args:
        loader: the DataLoader.
        place: of the data, for messages.

    Raises:
        DataError: the DataLoader has no length, or no batches.
    """

    def __init__(self, loader: DataLoader[Any], place: str) -> None:
        self.steps = length_of(loader, place)
        self.loader, self.place = loader, place

    @override
    def shuffled(self, random: np.random.Generator, start: int) -> Iterator[Batch]:
        for step, batch in enumerate(self._batches(int(random.integers(0, 1 << 63)))):
            if step >= start:
                yield batch

    @override
    def in_order(self) -> Iterator[Batch]:
        return self._batches(0)

    def _batches(self, seed: int) -> Iterator[Batch]:
        own = TorchRandom(seed)
        if self.loader.generator is not None:
            self.loader.generator.manual_seed(seed)
        with own.active():
            batches = iter(self.loader)
        for step in range(self.steps):
            place = f"{self.place}: batch {step}"
            try:
                with own.active():
                    found = next(batches)
            except StopIteration:
                return
            except DataError as error:
                raise error.within(place) from error
            except Exception as error:  # of the user's code
                raise DataError(f"{place} raised {type(error).__name__}: {error}") from error
            inputs, labels = pair_of(found, place)
            yield checked_batch(inputs, labels, place)


class TorchRandom:
    """A sequence of torch's random numbers on the CPU, apart from that of the training.

    Args:
        seed: its seed.
    """

    def __init__(self, seed: int) -> None:
        self._state = torch.Generator().manual_seed(seed).get_state()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Makes torch draw from this sequence."""
        outside = torch.get_rng_state()
        torch.set_rng_state(self._state)
        try:
            yield
        finally:
            self._state = torch.get_rng_state()
            torch.set_rng_state(outside)


def length_of(data: object, place: str) -> int:
    """Returns the length of a Dataset or a DataLoader.

    Raises:
        DataError: it has none, or is empty.
    """
    try:
        found = len(data)  # type: ignore[arg-type]
    except TypeError as error:
        raise DataError(f"{place}: the {type(data).__name__} has no length; expected one with a length") from error
    if not found:
        raise DataError(f"{place}: the {type(data).__name__} is empty")
    return found


def pair_of(value: object, place: str) -> Sequence[object]:
    """Returns a pair (inputs, labels).

    Raises:
        DataError: the value is something else.
    """
    if isinstance(value, tuple | list) and len(value) == 2:
        return value
    if isinstance(value, dict):
        shown = f"a dictionary of {', '.join(map(str, value))}"
    else:
        shown = f"{len(value)} values" if isinstance(value, tuple | list) else f"a {type(value).__name__}"
    raise DataError(f"{place} is {shown}; expected a pair (inputs, labels)")
