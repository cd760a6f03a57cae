"""A translation: a function that returns the PyTorch expression a person would write for one step.

To add one, register it under the step's kind, which is the layer's type::

    @SOURCE.register("TanH")
    def tanh(code: Code, x: str) -> str:
        return call("torch.tanh", x)

No text of the net enters the source: names are made into identifiers, and everything else is numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import NoReturn

import numpy as np
from torch import Tensor

from demitasse.errors import ExportError
from demitasse.graph import Step
from demitasse.graph.graph import Shape
from demitasse.registry import Registry


class Code:
    """The source of one step: lines of the constructor, tensors of the state_dict, helpers.

    Attributes:
        step: the step.
        shapes: the shapes of its inputs.
        name: the attribute that holds its module.
        needs: the helpers that it calls, see ``helpers.py``.
    """

    def __init__(self, step: Step, shapes: list[Shape], name: str, used: set[str], shared: dict[object, str]) -> None:
        self.step = step
        self.shapes = shapes
        self.name = name
        self.constructors: list[str] = []
        self.tensors: dict[str, Tensor] = {}
        self.needs: list[str] = []
        self._used = used
        self._shared = shared

    @property
    def settings(self) -> SimpleNamespace:
        """The settings of the step."""
        return self.step.settings

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights of the step."""
        return self.step.tensors

    def module(self, constructor: str, **tensors: Tensor | None) -> str:
        """Adds a module to the constructor; a step that shares all weights with an earlier one gets the same module.

        Args:
            constructor: the expression that makes it, such as ``nn.Linear(3, 4)``.
            tensors: the entries of its state_dict.

        Returns:
            The expression for it in ``forward``, such as ``self.ip1``.
        """
        key = constructor, *(None if value is None else value.data_ptr() for value in tensors.values())
        if key in self._shared:
            return self._shared[key]
        self._shared[key] = f"self.{self.name}"
        self.constructors.append(f"self.{self.name} = {constructor}")
        self.tensors.update((f"{self.name}.{key}", value) for key, value in tensors.items() if value is not None)
        return f"self.{self.name}"

    def parameter(self, role: str, value: Tensor) -> str:
        """Adds a parameter that belongs to no module; returns the expression for it in ``forward``."""
        return self._tensor(role, value, "self.{} = nn.Parameter(torch.empty({}))")

    def buffer(self, role: str, value: Tensor) -> str:
        """Adds a constant; returns the expression for it in ``forward``."""
        return self._tensor(role, value, 'self.register_buffer("{}", torch.empty({}))')

    def _tensor(self, role: str, value: Tensor, line: str) -> str:
        name = f"{self.name}_{role}"
        while name in self._used:
            name += "_"
        self._used.add(name)
        self.constructors.append(line.format(name, ", ".join(map(str, value.shape)) or "()"))
        self.tensors[name] = value
        return f"self.{name}"

    def helper(self, name: str) -> str:
        """Adds a helper function or class to the source; returns its name."""
        self.needs.append(name)
        return name

    def refuse(self, reason: str) -> NoReturn:
        """Refuses a layer that has no translation.

        Raises:
            ExportError: always; says which layer it is, and why.
        """
        raise ExportError(f"layer {self.step.name!r} of type {self.step.kind} has no PyTorch source: {reason}")


# takes Code and the expressions of the inputs; returns one expression for all outputs, or one for each
Translation = Callable[..., str | Sequence[str]]
SOURCE: Registry[Translation] = Registry("translation of layer type")


def call(function: str, *values: object, **settings: object) -> str:
    """Returns the text of a call; values are numbers, tuples of numbers, or text that is code already."""
    parts = [literal(value) for value in values]
    parts += [f"{name}={literal(value)}" for name, value in settings.items()]
    return f"{function}({', '.join(parts)})"


def literal(value: object) -> str:
    """Returns a value as code. Text is code already; a tuple of equal entries is written as one entry."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, tuple):
        return literal(value[0]) if len(set(value)) == 1 else f"({', '.join(map(literal, value))})"
    return str(value)


def number(value: float) -> str:
    """Returns the shortest text that stands for the same float32."""
    if not np.isfinite(value):
        return f'float("{value}")'
    short = float(str(np.float32(value)))
    return str(int(short)) if short == int(short) and abs(short) < 1e6 else repr(short)


def other_than(**defaults: tuple[object, object]) -> dict[str, object]:
    """Returns the settings that differ from their defaults: name -> (value, default)."""
    return {name: value for name, (value, default) in defaults.items() if literal(value) != literal(default)}
