"""Parameters that are sharded over processes (DTensor, as in FSDP2): the local part, and sums over all parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor

from demitasse.errors import MethodError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.tensor import DTensor


def is_sharded(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether a tensor is a DTensor; does not import torch.distributed."""
    return hasattr(tensor, "placements")


def local(tensor: Tensor) -> Tensor:
    """Returns the part of a tensor in this process, detached, sharing its memory."""
    found = tensor.detach()
    return found.to_local() if is_sharded(found) else found


def whole(tensor: Tensor) -> Tensor:
    """Returns the whole tensor; gathers it from all processes if it is sharded."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def like(parameter: Tensor, part: Tensor) -> Tensor:
    """Returns the local part as a tensor that is sharded like the parameter."""
    if not is_sharded(parameter):
        return part
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        part,
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )


def part_of(parameter: Tensor, whole: Tensor) -> Tensor:
    """Returns this process's part of a tensor of the parameter's shape, which every process holds whole."""
    if is_sharded(whole) or not is_sharded(parameter):
        return local(whole)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(
        whole.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None
    ).to_local()


def flat_index(parameter: Tensor) -> Tensor:
    """Returns the flat index of each local entry in the whole parameter, int64, of the local shape."""
    local_index = torch.zeros_like(local(parameter), dtype=torch.int64, memory_format=torch.contiguous_format)
    step = 1
    for axis in reversed(range(parameter.ndim)):
        place = channels_part_of(parameter, torch.arange(parameter.shape[axis]), axis).to(local_index.device)
        local_index += (step * place).reshape([-1 if number == axis else 1 for number in range(parameter.ndim)])
        step *= parameter.shape[axis]
    return local_index


def channels_like(parameter: Tensor, part: Tensor, axis: int | None) -> Tensor:
    """Returns a vector, one number for each local index along an axis, sharded like that axis of the parameter."""
    if axis is None or not shard_axis_is(parameter, axis):
        return part
    from torch.distributed.tensor import DTensor, Replicate, Shard

    places = [Shard(0) if place.is_shard(axis) else Replicate() for place in parameter.placements]
    return DTensor.from_local(
        part, parameter.device_mesh, places, run_check=False, shape=torch.Size([parameter.shape[axis]]), stride=(1,)
    )


def channels_part_of(parameter: Tensor, whole: Tensor, axis: int | None) -> Tensor:
    """Returns the local part of a vector from :func:`channels_like`, or of the whole vector."""
    if is_sharded(whole) or axis is None or not shard_axis_is(parameter, axis):
        return local(whole)
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    places = [Shard(0) if place.is_shard(axis) else Replicate() for place in parameter.placements]
    return distribute_tensor(whole.to(parameter.device), parameter.device_mesh, places, src_data_rank=None).to_local()


def shard_axis_is(parameter: Tensor, axis: int) -> TypeGuard[DTensor]:
    """Whether the parameter is split along an axis."""
    return is_sharded(parameter) and any(place.is_shard(axis) for place in parameter.placements)


def groups(parameter: Tensor) -> list[ProcessGroup]:
    """Returns the process groups over which the parameter is split; an empty list if it is not.

    Raises:
        MethodError: the parameter is placed as partial sums.
    """
    if not is_sharded(parameter):
        return []
    if any(place.is_partial() for place in parameter.placements):
        raise MethodError(f"a parameter is placed as {parameter.placements}; expected shards or replicas")
    return [
        parameter.device_mesh.get_group(axis) for axis, place in enumerate(parameter.placements) if place.is_shard()
    ]


def total(parameter: Tensor, part: Tensor) -> Tensor:
    """Adds up integers over all shards of a parameter, in place, and returns the sums."""
    return _reduce(parameter, part, "SUM")


def largest(parameter: Tensor, part: Tensor) -> Tensor:
    """Computes the maximum over all shards of a parameter, in place, and returns it."""
    return _reduce(parameter, part, "MAX")


def _reduce(parameter: Tensor, part: Tensor, operation: str) -> Tensor:
    for group in groups(parameter):
        from torch import distributed

        distributed.all_reduce(part, getattr(distributed.ReduceOp, operation), group=group)
    return part


def from_first_rank(number: int, device: torch.device) -> int:
    """Returns the number of rank 0 in every process; without a distributed run, the number itself."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return number
    # nccl sends only tensors on its devices
    place = torch.device("cpu") if distributed.get_backend() in ("gloo", "mpi") else device
    value = torch.tensor(number, dtype=torch.int64, device=place)
    distributed.broadcast(value, 0)
    return int(value)
