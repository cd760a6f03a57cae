"""Recalibrates batch normalization after compression, when its statistics no longer fit the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from demitasse.errors import DataError, MethodError
from demitasse.methods import settings
from demitasse.methods.selection import unwrap

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Forward = Callable[[nn.Module, Any], object]


@torch.no_grad()
def recalibrate_batch_norm(model: nn.Module, batches: Iterable[Any], forward: Forward | None = None) -> int:
    """Measures mean and variance of all batch normalization layers again, as averages over equally weighted batches.

    Weights and the mode of every module do not change. If anything raises, the old statistics are restored. With
    DistributedDataParallel each process measures its own batches, and all processes get the mean of their statistics.

    Args:
        model: any module, wrapped or not.
        batches: inputs, or tuples or lists whose first entry is the input, or mappings of keyword arguments; tensors
            are moved to the model's device. A few thousand examples are enough.
        forward: runs the model on a batch, for other kinds of batches: ``forward(model, batch)``.

    Returns:
        The number of layers measured. If it is 0, no batch is read.

    Raises:
        DataError: there is no batch.
        MethodError: an argument is invalid, a batch is an empty tuple, or a measured statistic is not finite.

    Reference: Ioffe and Szegedy 2015, Batch Normalization (arXiv 1502.03167), algorithm 2, steps 8 to 12.
    """
    settings.module("model", model)
    if forward is not None:
        settings.function("forward", forward)
    if not isinstance(batches, Iterable):
        raise MethodError(f"batches is {settings.shown(batches)}; expected an iterable of batches")
    layers = [module for module in model.modules() if _has_statistics(module)]
    if not layers:
        return 0
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    run = forward or _forward
    # DistributedDataParallel would copy the statistics of rank 0 to the other ranks before every forward
    bare = unwrap(model)
    with _measuring(model, layers):
        count = 0
        for batch in batches:
            run(bare, _moved(batch, device))
            count += 1
        group = _group(model)
        if group is not None:
            count = _least(count, device, group)
        if not count:
            raise DataError("batch norm cannot be recalibrated: there is no batch")
        if group is not None:
            _average(layers, group)
        _check_finite(model, layers)
    return len(layers)


def _group(model: nn.Module) -> ProcessGroup | None:
    """Returns the processes of a DistributedDataParallel, compiled or not; None if there is none."""
    wrappers = (module for module in model.modules() if isinstance(module, nn.parallel.DistributedDataParallel))
    found = next(wrappers, None)
    return None if found is None else found.process_group


def _least(count: int, device: torch.device, group: ProcessGroup) -> int:
    """Returns the least count of all processes, so that all of them raise or none."""
    least = torch.tensor(count, device=device)
    torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN, group=group)
    return int(least)


def _average(layers: list[nn.Module], group: ProcessGroup) -> None:
    for layer in layers:
        for name in ("running_mean", "running_var"):
            buffer = layer.get_buffer(name)
            torch.distributed.all_reduce(buffer, group=group)
            buffer /= torch.distributed.get_world_size(group)


def _check_finite(model: nn.Module, layers: list[nn.Module]) -> None:
    """Raises if NaN or infinite inputs or weights gave statistics that are not finite."""
    names = {module: name for name, module in unwrap(model).named_modules()}
    for layer in layers:
        if not all(bool(layer.get_buffer(name).isfinite().all()) for name in ("running_mean", "running_var")):
            raise MethodError(
                f"batch norm cannot be recalibrated: {names.get(layer, 'a layer')!r} measured NaN or infinite values; "
                "expected finite batches and weights"
            )


def _has_statistics(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None


@contextmanager
def _measuring(model: nn.Module, layers: list[nn.Module]) -> Iterator[None]:
    """Resets the layers and sets them to cumulative averages; sets all other modules to evaluation."""
    modes = {module: module.training for module in model.modules()}
    momenta = {layer: layer.momentum for layer in layers}
    before = {layer: {name: buffer.clone() for name, buffer in layer.named_buffers(recurse=False)} for layer in layers}
    model.eval()
    for layer in layers:
        layer.reset_running_stats()  # type: ignore[operator]
        layer.momentum = None  # type: ignore[assignment]
        layer.training = True
    try:
        yield
    except BaseException:
        for layer, buffers in before.items():
            for name, buffer in buffers.items():
                layer.get_buffer(name).copy_(buffer)
        raise
    finally:
        for module, mode in modes.items():
            module.training = mode
        for layer, momentum in momenta.items():
            layer.momentum = momentum


def _forward(model: nn.Module, batch: Any) -> object:
    if isinstance(batch, Mapping):
        return model(**batch)
    if isinstance(batch, tuple | list) and not batch:
        raise MethodError("a batch is an empty tuple or list; expected the input as its first entry")
    return model(batch[0] if isinstance(batch, tuple | list) else batch)


def _moved(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: _moved(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        return [_moved(value, device) for value in batch]
    return batch
