"""Parameters that are sharded over processes (DTensor, as FSDP2 makes them): the part here, and sums over all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from demitasse.errors import MethodError


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor is a DTensor; its package is not imported for the question."""
    return hasattr(tensor, "placements")


def local(tensor: Tensor) -> Tensor:
    """Returns the part that lies in this process, sharing its memory, without gradient."""
    found: Any = tensor.detach()
    part: Tensor = found.to_local() if is_sharded(tensor) else found
    return part


def whole(tensor: Tensor) -> Tensor:
    """Returns all of a tensor, gathered from all processes where it is sharded."""
    sharded: Any = tensor
    full: Tensor = sharded.full_tensor() if is_sharded(tensor) else tensor
    return full


def like(parameter: Tensor, part: Tensor) -> Tensor:
    """Returns the local part as a tensor that is sharded as the parameter is."""
    if not is_sharded(parameter):
        return part
    from torch.distributed.tensor import DTensor

    sharded: Any = parameter
    return DTensor.from_local(
        part, sharded.device_mesh, sharded.placements, run_check=False, shape=sharded.shape, stride=sharded.stride()
    )


def part_of(parameter: Tensor, whole: Tensor) -> Tensor:
    """Returns this process's part of a tensor of the parameter's whole shape; every process holds the whole."""
    if is_sharded(whole) or not is_sharded(parameter):
        return local(whole)
    from torch.distributed.tensor import distribute_tensor

    sharded: Any = parameter
    return distribute_tensor(
        whole.to(sharded.device), sharded.device_mesh, sharded.placements, src_data_rank=None
    ).to_local()


def flat_index(parameter: Tensor) -> Tensor:
    """Returns the flat index that each entry of the local part has in the whole parameter, int64."""
    local_index = torch.zeros_like(local(parameter), dtype=torch.int64, memory_format=torch.contiguous_format)
    step = 1
    for axis in reversed(range(parameter.ndim)):
        place = channels_part_of(parameter, torch.arange(parameter.shape[axis]), axis).to(local_index.device)
        local_index += (step * place).reshape([-1 if number == axis else 1 for number in range(parameter.ndim)])
        step *= parameter.shape[axis]
    return local_index


def channels_like(parameter: Tensor, part: Tensor, axis: int | None) -> Tensor:
    """Returns one number for each local index along an axis, sharded as that axis of the parameter is."""
    if axis is None or not shard_axis_is(parameter, axis):
        return part
    from torch.distributed.tensor import DTensor, Replicate, Shard

    sharded: Any = parameter
    places = [Shard(0) if place.is_shard(axis) else Replicate() for place in sharded.placements]
    return DTensor.from_local(
        part, sharded.device_mesh, places, run_check=False, shape=torch.Size([sharded.shape[axis]]), stride=(1,)
    )


def channels_part_of(parameter: Tensor, whole: Tensor, axis: int | None) -> Tensor:
    """Undoes :func:`channels_like`; also takes the whole vector."""
    if is_sharded(whole) or axis is None or not shard_axis_is(parameter, axis):
        return local(whole)
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    sharded: Any = parameter
    places = [Shard(0) if place.is_shard(axis) else Replicate() for place in sharded.placements]
    return distribute_tensor(whole.to(sharded.device), sharded.device_mesh, places, src_data_rank=None).to_local()


def shard_axis_is(parameter: Tensor, axis: int) -> bool:
    """Whether the parameter is split along an axis."""
    return is_sharded(parameter) and any(place.is_shard(axis) for place in parameter.placements)  # type: ignore[attr-defined]


def groups(parameter: Tensor) -> list[Any]:
    """Returns the process groups over which the parameter is split; none where it is whole here.

    Raises:
        MethodError: its parts are sums that are still to be added up.
    """
    if not is_sharded(parameter):
        return []
    sharded: Any = parameter
    if any(place.is_partial() for place in sharded.placements):
        raise MethodError(f"a parameter is placed as {sharded.placements}; expected shards or replicas")
    return [sharded.device_mesh.get_group(axis) for axis, place in enumerate(sharded.placements) if place.is_shard()]


def total(parameter: Tensor, part: Tensor) -> Tensor:
    """Returns the sum of integers over all shards of a parameter; changed in place."""
    return _reduce(parameter, part, "SUM")


def largest(parameter: Tensor, part: Tensor) -> Tensor:
    """Returns the maximum over all shards of a parameter; changed in place."""
    return _reduce(parameter, part, "MAX")


def _reduce(parameter: Tensor, part: Tensor, operation: str) -> Tensor:
    for group in groups(parameter):
        from torch import distributed

        distributed.all_reduce(part, getattr(distributed.ReduceOp, operation), group=group)
    return part


def from_first_rank(number: int, device: torch.device) -> int:
    """Returns rank 0's number in every process; the number itself outside of a distributed run."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return number
    # nccl carries tensors of its devices only
    place = torch.device("cpu") if distributed.get_backend() in ("gloo", "mpi") else device
    value = torch.tensor(number, dtype=torch.int64, device=place)
    distributed.broadcast(value, 0)
    return int(value)
