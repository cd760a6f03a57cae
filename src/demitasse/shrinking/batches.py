"""The calibration inputs, as batches that are run many times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from demitasse.errors import DataError, MethodError
from demitasse.methods import settings

# runs a model on a batch
Forward = Callable[[nn.Module, object], object]

# examples of a batch, if the inputs are one tensor, and about the most bytes, so that caches hold more of the outputs
_BATCH, _BYTES = 64, 1 << 22


def batches_of(calibration: object, examples: int) -> list[object]:
    """Returns the batches of calibration inputs, up to a number of examples.

    Args:
        calibration: a tensor with the examples along its first axis, or an iterable of batches, such as a DataLoader.
        examples: the most examples; the last batch is cut.

    Raises:
        MethodError: ``calibration`` is not one of these.
        DataError: there is no example.
    """
    if isinstance(calibration, Tensor):
        _check(calibration)
        if not calibration.ndim:
            raise MethodError("calibration is a tensor of 0 dimensions; expected the examples along its first axis")
        size = _BYTES * len(calibration) // max(1, calibration.nbytes)
        batches: Iterable[object] = torch.split(calibration[:examples], max(1, min(_BATCH, size)))
    elif isinstance(calibration, str | bytes | nn.Module) or not isinstance(calibration, Iterable):
        raise MethodError(
            f"calibration is {settings.shown(calibration)}; expected a tensor, a DataLoader or an iterable of inputs"
        )
    else:
        batches = [calibration] if isinstance(calibration, Mapping) else calibration
    found: list[object] = []
    left = examples
    for batch in batches:
        given = _input(batch)
        _check(given)
        size = size_of(given)
        if size:
            found.append(given if size <= left else _slice(given, 0, left))
            left -= size
        if left <= 0:
            break
    if not found:
        raise DataError("calibration has no examples; expected some inputs of the model, a few hundred are enough")
    return found


def _input(batch: object) -> object:
    """Returns the input of a batch: the first entry of a tuple or list, anything else as it is."""
    if not isinstance(batch, tuple | list):
        return batch
    if not batch:
        raise MethodError("a batch of calibration is an empty tuple or list; expected the input as its first entry")
    return batch[0]


def _check(batch: object) -> None:
    """Raises MethodError if a tensor of a batch is sparse, or has no values."""
    for tensor in batch.values() if isinstance(batch, Mapping) else (batch,):
        if isinstance(tensor, Tensor) and (tensor.layout is not torch.strided or tensor.is_meta):
            found = "on the device meta" if tensor.is_meta else f"of layout {tensor.layout}"
            raise MethodError(f"calibration has a tensor {found}; expected dense ones with values")


def size_of(batch: object) -> int:
    """Returns the number of examples of a batch: the first size of its first tensor, 1 without any."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else 1
    parts: Iterable[object] = batch.values() if isinstance(batch, Mapping) else ()
    return next((size_of(part) for part in parts if isinstance(part, Tensor)), 1)


def padding_of(batch: object) -> Tensor | None:
    """Returns which positions of a batch are padding, bool (n, length); None if it does not say, or has none.

    Batches for models of Hugging Face say it by ``attention_mask``, (n, length), which is 0 there.
    """
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if not isinstance(mask, Tensor) or mask.ndim != 2 or mask.is_floating_point():
        return None
    padding = mask == 0
    return padding if 0 < int(padding.sum()) < padding.numel() else None


def parted(batches: Sequence[object], size: int, examples: int) -> list[object]:
    """Returns smaller batches of the first examples.

    Args:
        batches: the batches.
        size: the most examples of each.
        examples: the number of examples in all.
    """
    found: list[object] = []
    for batch in batches:
        for begin in range(0, size_of(batch), size):
            if examples <= 0:
                return found
            found.append(_slice(batch, begin, size))
            examples -= size
    return found


def _slice(batch: object, begin: int, size: int) -> object:
    whole = size_of(batch)
    if isinstance(batch, Tensor):
        return batch[begin : begin + size] if batch.ndim else batch
    if not isinstance(batch, Mapping):
        return batch
    return {
        key: value[begin : begin + size] if isinstance(value, Tensor) and value.ndim and len(value) == whole else value
        for key, value in batch.items()
    }


def moved(batch: object, device: torch.device) -> object:
    """Returns a copy of a batch with its tensors on a device; the model may change it in place."""
    if isinstance(batch, Tensor):
        return batch.detach().to(device, copy=True)
    if isinstance(batch, Mapping):
        return {key: moved(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        return type(batch)(moved(value, device) for value in batch)
    return batch


def run(model: nn.Module, batch: object) -> object:
    """Runs a model on a batch: keyword arguments of a mapping, else one input."""
    return model(**batch) if isinstance(batch, Mapping) else model(batch)
