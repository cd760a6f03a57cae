"""Converts PyTorch tensors to dense tensors of the packed format, and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from demitasse.errors import UsageError
from demitasse.formats.base import Contents
from demitasse.packed.file import LIMIT
from demitasse.packed.tensor import BY_NAME
from demitasse.packed.tensor import Tensor as Packed

# numpy does not have every type of torch, but it can hold the bits of every type
_BITS = {1: torch.uint8, 2: torch.uint16, 4: torch.uint32, 8: torch.uint64}


def with_plain_bools(tensor: Tensor) -> Tensor:
    """Returns the tensor; bools stored as bytes other than 0 and 1 become 1, as torch displays them."""
    if tensor.dtype != torch.bool or tensor.layout != torch.strided or tensor.is_meta:
        return tensor
    # such bytes come from views of other types; comparing the bools themselves would keep the bytes
    bytes_ = tensor.view(torch.uint8)
    return bytes_ != 0 if bool((bytes_ > 1).any()) else tensor


def dense(name: str, tensor: Tensor) -> Tensor:
    """Returns the values of a tensor on the CPU, contiguous in C order.

    Raises:
        UsageError: the tensor is sparse, quantized, nested, or on the meta device.
    """
    _check_dense(name, tensor)
    return with_plain_bools(tensor).detach().resolve_conj().resolve_neg().cpu().contiguous()


def _check_dense(name: str, tensor: Tensor) -> None:
    kinds = {"meta": tensor.is_meta, "quantized": tensor.is_quantized, "nested": tensor.is_nested}
    kinds[str(tensor.layout).removeprefix("torch.")] = tensor.layout != torch.strided
    if found := [kind for kind, holds in kinds.items() if holds]:
        raise UsageError(f"{name} is a {found[0]} tensor; expected a dense tensor with values")


def checked_device(device: object) -> torch.device:
    """Returns the device, after checking that this machine can place tensors on it.

    Raises:
        UsageError: it is not a device, or this machine does not have it.
    """
    if isinstance(device, bool) or not isinstance(device, (str, int, torch.device)):
        raise UsageError(f"device is a {type(device).__name__}; expected a device such as 'cpu' or 'cuda:0'")
    try:
        return torch.empty(0, device=device).device
    except Exception as error:  # torch raises various exceptions for missing devices
        reason = str(error).splitlines()[0]
        raise UsageError(f"device is {str(device)!r}; expected a device such as 'cpu' or 'cuda:0': {reason}") from None


def check_sizes(state: Mapping[str, Tensor], limit: int = LIMIT) -> None:
    """Refuses tensors that would take far more memory in a file than they do now: an expanded tensor may be huge.

    Args:
        state: tensors by name.
        limit: the largest number of bytes that all expanded tensors together may take in a file.

    Raises:
        UsageError: the limit is exceeded (names the largest tensor), or a tensor is nested and so has no shape.
    """
    for name, tensor in state.items():
        if tensor.is_nested:
            _check_dense(name, tensor)
    sizes = {
        name: tensor.numel() * tensor.element_size()
        for name, tensor in state.items()
        if tensor.layout == torch.strided and not tensor.is_meta
    }
    larger = {name: size for name, size in sizes.items() if size > state[name].untyped_storage().nbytes()}
    if sum(larger.values()) > limit:
        name = max(larger, key=larger.__getitem__)
        raise UsageError(
            f"{name} of shape {tuple(state[name].shape)} expands {state[name].untyped_storage().nbytes():,} bytes to "
            f"{larger[name]:,}; the limit for expanded tensors is {limit:,} bytes"
        )


def to_packed(name: str, tensor: Tensor) -> Packed:
    """Returns a tensor as one of the packed format.

    Raises:
        UsageError: the format does not support its type, or the tensor is not dense.
    """
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind not in BY_NAME:
        raise UsageError(f"{name} has type {kind}; expected one of {', '.join(BY_NAME)}")
    dtype = BY_NAME[kind]
    flat = dense(name, tensor).reshape(-1).view(_BITS[dtype.size])
    return Packed(name, dtype, dtype.stored(tuple(tensor.shape)), flat.numpy())


def to_torch(tensor: Packed) -> Tensor:
    """Returns a tensor of the packed format as a PyTorch tensor on the CPU, which shares its memory if it is writable.

    Raises:
        UsageError: the installed PyTorch does not support its type.
    """
    kind = getattr(torch, tensor.dtype.name, None)
    if kind is None:
        raise UsageError(f"{tensor.name} has type {tensor.dtype.name}, which PyTorch {torch.__version__} does not know")
    if not tensor.size:  # torch does not accept numpy's strides of an empty array
        return torch.empty(tensor.dtype.shown(tensor.shape), dtype=kind)
    bits = tensor.bits if tensor.bits.flags.writeable else tensor.bits.copy()
    return torch.from_numpy(bits).view(kind).reshape(tensor.dtype.shown(tensor.shape))


def of_state(state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Contents:
    """Returns tensors by name as the contents of a file; tied tensors stay tied.

    Raises:
        UsageError: a tensor is not dense, has an unsupported type, or is far larger than its memory.
    """
    check_sizes(state)
    aliases = tied_names(state)
    tensors = [to_packed(name, tensor) for name, tensor in state.items() if name not in aliases]
    return Contents(tensors, metadata or {}, aliases)


def to_state(contents: Contents, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """Returns the contents of a file as tensors by name; names that share values are tied.

    Raises:
        UsageError: the installed PyTorch does not support the type of a tensor.
    """
    first: dict[int, Tensor] = {}
    state = {}
    for each in contents.tensors:
        if id(each.bits) not in first:
            first[id(each.bits)] = to_torch(each).to(device)
        state[each.name] = first[id(each.bits)]
    return state | {name: state[other] for name, other in contents.aliases.items()}


def tied_names(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Returns the names of tensors that are identical to an earlier tensor -> the name of that tensor."""
    first: dict[tuple[object, ...], str] = {}
    known = {name: first.setdefault(_memory(name, tensor), name) for name, tensor in state.items()}
    return {name: other for name, other in known.items() if name != other}


def _memory(name: str, tensor: Tensor) -> tuple[object, ...]:
    """Returns a key that is equal only for tied tensors."""
    if not tensor.numel() or tensor.layout != torch.strided:
        return (name,)
    flags = tensor.is_conj(), tensor.is_neg()
    return tensor.data_ptr(), tensor.device, tensor.dtype, tensor.shape, tensor.stride(), flags
