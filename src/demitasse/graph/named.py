"""Calls of PyTorch's functions as plain data, which need PyTorch only when they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class InputPlace:
    """The place of an input among the arguments of a call.

    Attributes:
        index: number of the input.
    """

    index: int


@dataclass(frozen=True)
class Word:
    """One of :data:`demitasse.graph.allowed.WORDS` among the arguments of a call.

    Attributes:
        text: the word.
    """

    text: str


@dataclass(frozen=True, eq=False)
class NamedCall:
    """The maker of a call of a function in :data:`demitasse.graph.allowed.ALLOWED`.

    Attributes:
        name: of the function.
        args: the arguments: numbers, None, tensors, lists of them, :class:`InputPlace` and :class:`Word`.
        kwargs: the named ones.
    """

    name: str
    args: tuple[object, ...]
    kwargs: dict[str, object]

    def __call__(self) -> nn.Module:
        """Returns the module that calls the function."""
        from demitasse.graph.calling import call_named

        return call_named(self)


@dataclass(frozen=True, eq=False)
class ProgramCall:
    """The maker of a call as it stands in a program.

    Attributes:
        target: the function.
        args: the arguments, with an :class:`InputPlace` in the place of each input.
        kwargs: the named ones.
    """

    target: Callable[..., object]
    args: tuple[object, ...]
    kwargs: dict[str, object]

    def __call__(self) -> nn.Module:
        """Returns the module that calls the function."""
        from demitasse.graph.calling import Call

        return Call(self.target, self.args, self.kwargs)
