"""Mathematics that several layers need and that torch has in another form."""

from __future__ import annotations

import torch
from torch import Tensor

from demitasse.errors import DataError


def root(values: Tensor, eps: float) -> Tensor:
    """Returns the square root; its slope is 1 / (2 (root + eps)), as Caffe takes it, and so stays finite at 0."""
    found = values.detach().sqrt()
    return found + (values - values.detach()) / (2 * (found + eps))


def indices(values: Tensor, count: int, place: str, ignored: int | None = None) -> Tensor:
    """Returns numbers that stand for one of ``count`` things as int64, fractions cut off.

    Args:
        values: any shape.
        count: how many things there are.
        place: what the numbers are, for the message, such as ``layer 'loss': label``.
        ignored: a number that may stand there too; it becomes 0.

    Raises:
        DataError: a number is none of 0 ... count - 1.
    """
    found = values.detach().long()
    if ignored is not None:
        found = torch.where(found == ignored, 0, found)
    if not (found.is_meta or torch.compiler.is_compiling()):
        wrong = found[(found < 0) | (found >= count)]
        if wrong.numel():
            raise DataError(f"{place} {wrong[0].item()} is none of 0 to {count - 1}")
    return found
