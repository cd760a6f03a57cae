"""What a source is: the data layers of a net, kept outside the module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from demitasse.caffe import schema
from demitasse.errors import DataError
from demitasse.registry import Registry

Shape = tuple[int, ...]


class Source(ABC):
    """Feeds the tops of one data layer, batch after batch.

    To add one, write a class in a file of this folder and register it under its layer type. Paths in the
    net are relative to the working directory, as in Caffe.

    Attributes:
        fed: the caller feeds the tops, :meth:`next_batch` is not used (layer type Input).
        shapes: one shape a top.
        random: the generator of all random draws of this source.
        workers: how many threads make batches ahead; 0 makes a batch when it is read. Only sources that decode or
            transform images heed it (:class:`demitasse.caffe.sources.ahead.AheadSource`).
        rank: this process's number among those that train together.
        ranks: how many they are.
        splits_by_rank: :meth:`next_batch` itself returns the records ``rank``, ``rank + ranks`` ... of the next
            ``ranks`` batches, and goes behind all of them. Where it does not, :meth:`next_own_batch` reads all and
            leaves out the others'.
    """

    fed: ClassVar[bool] = False
    splits_by_rank: ClassVar[bool] = False
    rank: int = 0
    ranks: int = 1
    shapes: list[Shape]
    random: np.random.Generator
    workers: int = 0

    @abstractmethod
    def __init__(self, spec: schema.LayerParameter, phase: int) -> None:
        self.seed(0)

    @abstractmethod
    def next_batch(self) -> list[Tensor]:
        """Returns the next batch, one float32 tensor a top."""

    def constants(self) -> dict[int, Tensor]:
        """Returns the tops that are the same in every batch, by index; the Python interface fills them once."""
        return {}

    def split_among_ranks(self, rank: int, ranks: int) -> None:
        """Deals the records out from now on: record i belongs to the process ``i % ranks``.

        The position and the generator are the same in all of them: whatever is drawn is drawn for all records.
        """
        self.rank, self.ranks = rank, ranks

    def next_own_batch(self) -> list[Tensor]:
        """Returns this process's next batch.

        Raises:
            DataError: a top has no axis of records.
        """
        if self.splits_by_rank or self.ranks == 1:
            return self.next_batch()
        batches = [self.next_batch() for _ in range(self.ranks)]
        return [self._own(top) for top in zip(*batches, strict=True)]

    def _own(self, top: tuple[Tensor, ...]) -> Tensor:
        if not all(part.ndim for part in top):
            raise DataError(
                f"{type(self).__name__}: a top without axes cannot be dealt out over {self.ranks} processes"
            )
        records = [record for part in top for record in part]
        return torch.stack(records[self.rank :: self.ranks])

    def seed(self, value: int) -> None:
        """Starts the generator anew and goes to the beginning of the data."""
        self.random = np.random.default_rng(value % 2**64)

    def state(self) -> dict[str, Any]:
        """Returns the position in the data and the states of generators, as plain values for JSON."""
        return {"random": self.random.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes to what :meth:`state` returned.

        Raises:
            DataError: the data has changed, so that there is no such position.
        """
        self.random.bit_generator.state = state["random"]

    def close(self) -> None:  # noqa: B027 (most sources hold no files)
        """Lets go of files."""


SOURCES: Registry[type[Source]] = Registry("data layer type")
