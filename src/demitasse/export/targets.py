"""What nets are exported to: one entry an ending of files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from demitasse.graph import Model
from demitasse.registry import Registry

Files = dict[str, bytes]


class Made(NamedTuple):
    """What a model became.

    Attributes:
        files: ending -> content; the first ending is that of the file that was asked for.
        about: a few words on it.
    """

    files: Files
    about: str


class Target(NamedTuple):
    """A form of files.

    Attributes:
        make: writes a model.
        run: gives the outputs that files made so compute, for inputs by name, both in the order of the model; None
            where what would run them is not installed.
        tolerance: up to which they may differ from the net's, by the greatest magnitude.
    """

    make: Callable[[Model], Made]
    run: Callable[[Files, dict[str, Tensor]], Sequence[Tensor] | None]
    tolerance: float


TARGETS: Registry[Target] = Registry("ending of an exported file")
