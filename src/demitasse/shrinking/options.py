"""The options that ``shrink`` has in common with the functions that compress files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from demitasse.methods.one_shot.layer import GridKind, Per
from demitasse.methods.selection import Number, Pattern
from demitasse.shrinking.job import Progress


class ShrinkOptions(TypedDict, total=False):
    """Some of the arguments of :func:`demitasse.shrink`, by name."""

    sparsity: Number | Mapping[Pattern, Number] | None
    bits: Number | Mapping[Pattern, Number] | None
    max_bytes: int | None
    grid: GridKind | None
    per: Per | None
    parameters: Sequence[Pattern] | None
    exclude: Sequence[Pattern]
    progress: Progress | None
