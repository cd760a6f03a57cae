"""Functions of several layers that differ from torch's."""

from __future__ import annotations

import torch
from torch import Tensor

from demitasse.errors import DataError


def root(values: Tensor, eps: float) -> Tensor:
    """Returns the square root with the derivative 1 / (2 (root + eps)), as in Caffe, which is finite at 0."""
    found = values.detach().sqrt()
    return found + (values - values.detach()) / (2 * (found + eps))


def indices(values: Tensor, count: int, place: str, ignored: int | None = None) -> Tensor:
    """Returns indices as int64, after checking their range; fractions are truncated.

    Args:
        values: the indices, of any shape.
        count: the number of valid indices.
        place: the name of the indices in the message, such as ``layer 'loss': label``.
        ignored: a further valid value, which becomes 0.

    Raises:
        DataError: an index is not in the range 0 ... count - 1.
    """
    found = values.detach().long()
    if ignored is not None:
        found = torch.where(found == ignored, 0, found)
    if not (found.is_meta or torch.compiler.is_compiling()):
        wrong = found[(found < 0) | (found >= count)]
        if wrong.numel():
            raise DataError(f"{place} is {wrong[0].item()}; expected 0 to {count - 1}")
    return found
