"""Calls of PyTorch's functions, with their constant arguments."""

from __future__ import annotations

import operator
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, fx, nn
from typing_extensions import override

from demitasse.errors import UsageError, is_out_of_memory
from demitasse.graph.allowed import CONSTANT
from demitasse.graph.named import InputPlace, NamedCall, Word
from demitasse.graph.weights import tensor
from demitasse.packed.weight import PackedWeight

# the greatest whole number that a size is computed to be
_GREATEST = 1 << 63


class Call(nn.Module):
    """One call of a function.

    Args:
        target: what is called.
        args: the arguments, with an :class:`InputPlace` in the place of each input.
        kwargs: the named ones.
    """

    def __init__(self, target: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        super().__init__()
        self.target, self.args, self.kwargs = target, args, kwargs

    @override
    def forward(self, *inputs: object) -> Tensor | tuple[object]:
        args, kwargs = replaced(
            (self.args, self.kwargs), lambda each: inputs[each.index] if isinstance(each, InputPlace) else each
        )
        result = self.target(*args, **kwargs)
        return result if isinstance(result, Tensor) else (result,)  # a list is one value


def replaced(
    arguments: tuple[tuple[object, ...], dict[str, object]], by: Callable[[object], object]
) -> tuple[tuple[object, ...], dict[str, object]]:
    """Returns arguments with every one that is no list replaced."""
    found: tuple[tuple[object, ...], dict[str, object]] = fx.node.map_aggregate(arguments, by)  # type: ignore[arg-type, type-var]
    return found


def constant_value(value: object) -> object:
    """Returns a constant; of a tensor a copy, which may be changed."""
    return value.clone() if isinstance(value, Tensor) else value


def call_named(call: NamedCall) -> Call:
    """Returns the module that calls a function by its name."""
    args, kwargs = replaced((call.args, call.kwargs), _resolved)
    return Call(_Named(call.name), args, kwargs)


def _resolved(argument: object) -> object:
    if isinstance(argument, PackedWeight):
        return tensor(argument)
    if isinstance(argument, np.ndarray):  # whose memory may not be writable
        return torch.from_numpy(argument.copy())
    if not isinstance(argument, Word):
        return argument
    text = argument.text
    if text == "cpu":
        return torch.device(text)
    return getattr(torch, text.removeprefix("torch.")) if text.startswith("torch.") else text


def function_named(name: str) -> Callable[..., object]:
    """Returns one of the functions that a file may name."""
    if name == CONSTANT:
        return constant_value
    library, function, *overload = name.split(".")
    if library == "aten":
        found: Callable[..., object] = getattr(getattr(torch.ops.aten, function), overload[0])
        return found
    return _Bounded(getattr(operator if library == "operator" else torch, function))


class _Named:
    """A function that a file names, and that may refuse the values that it gets."""

    def __init__(self, name: str) -> None:
        self._name, self._function = name, function_named(name)

    def __call__(self, *args: object, **kwargs: object) -> object:
        try:
            return self._function(*args, **kwargs)
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UsageError(f"{self._name} cannot be computed from these values: {reason}") from error


class _Bounded:
    """A function of sizes, whose results stay numbers of 64 bits."""

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def __call__(self, *args: object) -> object:
        found = self._function(*args)
        if isinstance(found, int) and abs(found) >= _GREATEST:
            raise UsageError(f"a size is {found:.3e}; expected less than 2^63")
        return found
