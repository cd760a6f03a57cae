"""Checked tensors of examples, and their batches; where a user's data enters, whatever its source."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from demitasse.errors import DataError
from demitasse.zoo.data.base import Batch

_MOST = 1 << 31  # labels are far below it


def checked_batch(inputs: object, labels: object, place: str) -> Batch:
    """Returns inputs and labels as tensors that a model and a cross entropy take.

    Args:
        inputs: (n, ...) of floating-point numbers, as the model takes them, or of integers, such as tokens; a tensor or
            an array.
        labels: (n, ...) of integers, 0 or more; a tensor or an array.
        place: of the data, for messages.

    Returns:
        Inputs as float32 or int64, and labels as int64; (n, 1) labels become (n,).

    Raises:
        DataError: they are of another type, of different lengths, empty, not finite, or labels are out of range.
    """
    found, targets = _tensor(inputs, f"{place}: inputs"), _tensor(labels, f"{place}: labels")
    if not found.ndim or not targets.ndim or len(found) != len(targets):
        shapes = f"inputs of shape {tuple(found.shape)} and labels of shape {tuple(targets.shape)}"
        raise DataError(f"{place}: found {shapes}; expected the same number of each")
    if not len(found):
        raise DataError(f"{place}: found no examples")
    if found.dtype in (torch.uint8, torch.bool) or found.is_complex():
        raise DataError(
            f"{place}: inputs are {_kind(found)}; expected floating-point numbers, as the model takes them, or "
            "integers of at least 16 bits, such as tokens"
        )
    return _inputs(found, place), _labels(targets, place)


def _inputs(found: Tensor, place: str) -> Tensor:
    if not found.is_floating_point():
        return found.long()
    found = found.float()
    if not bool(found.isfinite().all()):
        bad = int((~found.isfinite()).flatten(1).any(1).nonzero()[0]) if found.ndim > 1 else 0
        raise DataError(f"{place}: input {bad} has a value that is NaN or infinite; expected finite numbers")
    return found


def _labels(targets: Tensor, place: str) -> Tensor:
    if targets.is_floating_point() or targets.is_complex() or targets.dtype is torch.bool:
        raise DataError(
            f"{place}: labels are {_kind(targets)}; expected integers, the numbers of the classes from 0 on"
        )
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    targets = targets.long()
    low, high = (int(each) for each in targets.aminmax())
    if low < 0 or high >= _MOST:
        wrong = low if low < 0 else high
        index = int((targets == wrong).nonzero()[0][0])
        raise DataError(f"{place}: label {wrong} of example {index} is out of range; expected 0 or more")
    return targets


def _tensor(value: object, place: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject or value.dtype.kind not in "biufc":
            raise DataError(f"{place} are an array of {value.dtype}; expected numbers")
        if value.dtype.kind == "u" and value.dtype.itemsize > 1:
            value = value.astype(np.int64)
        return torch.from_numpy(np.require(value.astype(value.dtype.newbyteorder("=")), requirements=("C", "W")))
    raise DataError(f"{place} are a {type(value).__name__}; expected a tensor or an array")


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
