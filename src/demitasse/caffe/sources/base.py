"""What a source is: the data layers of a net, kept outside the module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from demitasse.caffe import schema
from demitasse.registry import Registry

Shape = tuple[int, ...]


class Source(ABC):
    """Feeds the tops of one data layer, batch after batch.

    To add one, write a class in a file of this folder and register it under its layer type. Paths in the
    net are relative to the working directory, as in Caffe.

    Attributes:
        fed: the caller feeds the tops, :meth:`read` is not used (layer type Input).
        shapes: one shape a top.
        random: the generator of all random draws of this source.
    """

    fed: ClassVar[bool] = False
    shapes: list[Shape]
    random: np.random.Generator

    @abstractmethod
    def __init__(self, spec: schema.Message, phase: int) -> None:
        self.seed(0)

    @abstractmethod
    def read(self) -> list[Tensor]:
        """Returns the next batch, one float32 tensor a top."""

    def constants(self) -> dict[int, Tensor]:
        """Returns the tops that are the same in every batch, by index; the Python interface fills them once."""
        return {}

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
