"""The targets that nets are exported to, by the suffix of their files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from demitasse.graph import Model
from demitasse.registry import Registry

Files = dict[str, bytes]


class Made(NamedTuple):
    """The files that were made of a model.

    Attributes:
        files: suffix -> content; the first suffix is that of the file that was asked for.
        about: a short description of them.
    """

    files: Files
    about: str


class Target(NamedTuple):
    """One kind of files that a model can be exported to.

    Attributes:
        make: makes the files of a model.
        run: runs such files: takes inputs by name, in the order of the model, and returns the outputs in the order of
            the model, or None where the package that runs them is not installed.
        tolerance: greatest allowed difference from the outputs of the net, relative to their greatest magnitude.
    """

    make: Callable[[Model], Made]
    run: Callable[[Files, dict[str, Tensor]], Sequence[Tensor] | None]
    tolerance: float


TARGETS: Registry[Target] = Registry("suffix of an exported file")
