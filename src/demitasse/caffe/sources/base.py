"""The base class of sources: the data layers of a net, which are kept outside the module."""

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
State = dict[str, Any]  # plain values for JSON


class Source(ABC):
    """Provides the tops of one data layer, batch by batch.

    To add a source, write a class in a file of this folder and register it under its layer type. Paths in the
    net are relative to the working directory, as in Caffe.

    Attributes:
        fed: whether the caller feeds the tops (layer type Input), so that :meth:`next_batch` is not used.
        shapes: the shape of each top.
        random: the generator of all random draws of this source.
        workers: the number of threads that prefetch batches; with 0, a batch is made when it is read. Only sources
            that decode or transform images use it (:class:`demitasse.caffe.sources.ahead.AheadSource`).
        rank: the number of this process among the processes that train together.
        ranks: the number of these processes.
        splits_by_rank: whether :meth:`next_batch` returns only the records ``rank``, ``rank + ranks`` ... of the next
            ``ranks`` batches, and advances beyond all of them. Otherwise :meth:`next_own_batch` reads all records and
            drops those of other processes.
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
        """Returns the next batch, one float32 tensor for each top."""

    def epoch(self) -> int | None:
        """Returns the number of records after which the data begins again; None if it has no end."""
        return None

    def constants(self) -> dict[int, Tensor]:
        """Returns index -> value of the tops that are the same in every batch; pycaffe fills them once."""
        return {}

    def split_among_ranks(self, rank: int, ranks: int) -> None:
        """Distributes the records over processes from now on: record i belongs to the process ``i % ranks``.

        The position and the generator are the same in all processes, because each draws for all records.
        """
        self.rank, self.ranks = rank, ranks

    def next_own_batch(self) -> list[Tensor]:
        """Returns the next batch of this process.

        Raises:
            DataError: a top has no axes, so that its records cannot be distributed.
        """
        if self.splits_by_rank or self.ranks == 1:
            return self.next_batch()
        batches = [self.next_batch() for _ in range(self.ranks)]
        return [self._own(top) for top in zip(*batches, strict=True)]

    def _own(self, top: tuple[Tensor, ...]) -> Tensor:
        if not all(part.ndim for part in top):
            raise DataError(
                f"{type(self).__name__}: a top without axes cannot be distributed over {self.ranks} processes"
            )
        records = [record for part in top for record in part]
        return torch.stack(records[self.rank :: self.ranks])

    def seed(self, value: int) -> None:
        """Seeds the generator and returns to the beginning of the data."""
        self.random = np.random.default_rng(value % 2**64)

    def state(self) -> State:
        """Returns the position in the data and the state of the generator, as plain values for JSON."""
        return {"random": self.random.bit_generator.state}

    def restore(self, state: State) -> None:
        """Restores a state returned by :meth:`state`.

        Raises:
            DataError: there is no such position, because the data has changed.
        """
        self.random.bit_generator.state = state["random"]

    def close(self) -> None:  # noqa: B027 (most sources have no open files)
        """Closes files."""


SOURCES: Registry[type[Source]] = Registry("data layer type")
