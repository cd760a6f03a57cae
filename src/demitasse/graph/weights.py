"""What a weight of a step may be, and what is asked of it; torch is imported only where a tensor of it is asked for.

A graph that was read from a module or a net has tensors, of any type and on any device. One that was read from a file
has arrays, and of sparse matrices only the values that are not zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from demitasse.arrays import Array
from demitasse.packed.sparse import Floats
from demitasse.packed.tensor import DType
from demitasse.packed.weight import PackedWeight

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Doubles = NDArray[np.float64]
Weight: TypeAlias = Union["Tensor", Array, PackedWeight]


def size(weight: Weight) -> int:
    """Returns the number of values."""
    if isinstance(weight, np.ndarray | PackedWeight):
        return weight.size
    return weight.numel()


def kept(weight: Weight) -> int:
    """Returns the number of values that are not zero."""
    if isinstance(weight, PackedWeight):
        return weight.kept
    return int(np.count_nonzero(weight) if isinstance(weight, np.ndarray) else weight.count_nonzero())


def nbytes(weight: Weight) -> int:
    """Returns the bytes in memory."""
    return weight.nbytes


def is_float32(weight: Weight) -> bool:
    """Tells whether the values are float32."""
    return isinstance(weight, PackedWeight) or str(weight.dtype).rpartition(".")[2] == "float32"


def is_on_cpu(weight: Weight) -> bool:
    """Tells whether the values are in the memory of the CPU."""
    return isinstance(weight, np.ndarray | PackedWeight) or weight.device.type == "cpu"


def array(weight: Weight) -> Floats:
    """Returns the values as float32, in order."""
    if isinstance(weight, PackedWeight):
        return weight.array()
    found = weight if isinstance(weight, np.ndarray) else weight.detach().float().cpu().numpy()
    return np.ascontiguousarray(found, np.float32)


def doubles(weight: Weight) -> Doubles:
    """Returns the values as float64."""
    if isinstance(weight, PackedWeight):
        return weight.array().astype(np.float64)
    if isinstance(weight, np.ndarray):
        return weight.astype(np.float64)
    found: Doubles = weight.detach().double().cpu().numpy()
    return found


def tensor(weight: Weight) -> Tensor:
    """Returns a tensor of the values, of their type and with the memory of an array."""
    if not isinstance(weight, np.ndarray | PackedWeight):
        return weight
    import torch

    return torch.from_numpy(np.ascontiguousarray(weight if isinstance(weight, np.ndarray) else weight.array()))


def of_file(weight: Array | PackedWeight, dtype: DType) -> Weight:
    """Returns what a file holds as steps have it: a tensor where it is no float32."""
    if isinstance(weight, PackedWeight) or dtype.name == "float32":
        return weight
    import torch

    found = torch.from_numpy(weight.copy())  # of a type that numpy lacks, the bits
    return found if dtype.is_of_numpy else found.view(torch_type(dtype.name))


def torch_type(dtype: object) -> torch.dtype:
    """Returns PyTorch's type for one of numpy, of PyTorch, or a name."""
    import torch

    found: torch.dtype = getattr(torch, str(dtype).removeprefix("torch."))
    return found


def packed(weight: Weight) -> PackedWeight:
    """Returns the values that are not zero, as float32."""
    if isinstance(weight, PackedWeight):
        return weight
    from demitasse.packed.rows import sparse_rows

    values = array(weight)
    return PackedWeight.of_rows(values.shape, sparse_rows(values.reshape(len(values), -1)))


def scaled(weight: Weight, factor: Doubles) -> Weight:
    """Returns a weight times a factor for each index of its first axis, rounded once."""
    if isinstance(weight, PackedWeight):
        return weight.scaled(factor)
    column = factor.reshape(-1, *[1] * (weight.ndim - 1))
    if isinstance(weight, np.ndarray):
        return (weight * column).astype(weight.dtype)
    exact = weight.detach().double()
    return (exact * exact.new_tensor(column)).to(weight.dtype)


def like(weight: Weight, values: Doubles) -> Weight:
    """Returns values of the kind, the type and on the device of a weight."""
    if isinstance(weight, np.ndarray | PackedWeight):
        return values.astype(np.float32 if isinstance(weight, PackedWeight) else weight.dtype)
    return weight.detach().new_tensor(values)
