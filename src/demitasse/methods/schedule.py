"""Ramps from 0 to a target, and random draws that a resume repeats."""

from __future__ import annotations

import random
from dataclasses import dataclass

from demitasse.methods import settings


@dataclass(frozen=True)
class Ramp:
    """A cubic curve from 0 to a target: fast at first, slow at the end.

    Reference: Zhu and Gupta 2017, To prune, or not to prune (arXiv 1710.01878), equation (1), from 0.

    Attributes:
        begin: the first step.
        steps: number of steps until the target is reached; 0 reaches it at the first step.

    Raises:
        MethodError: a value is negative or not a whole number.
    """

    begin: int = 0
    steps: int = 1000

    def __post_init__(self) -> None:
        for name, field, value in (("begin", "begin", self.begin), ("ramp", "steps", self.steps)):
            object.__setattr__(self, field, settings.steps(name, value))

    def share(self, step: int) -> float:
        """Returns the share of the target, 0 to 1, at a step counted from 0."""
        if step < self.begin:
            return 0.0
        if step >= self.end:
            return 1.0
        return 1 - (1 - (step + 1 - self.begin) / self.steps) ** 3

    @property
    def end(self) -> int:
        """The step at which the target is reached."""
        return self.begin + max(self.steps - 1, 0)


def uniform(seed: int, step: int) -> float:
    """Returns a random number in 0..1 that depends only on seed and step, so that a resume draws the same one."""
    return random.Random(f"{seed}:{step}").random()
