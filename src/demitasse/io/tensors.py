"""What of a tensor goes into a file: its values, as torch shows them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from demitasse.errors import UsageError
from demitasse.packed.file import LIMIT


def shown(tensor: Tensor) -> Tensor:
    """Returns the tensor itself, or of bools that are kept as other bytes than 0 and 1 what torch shows them as."""
    if tensor.dtype != torch.bool or tensor.layout != torch.strided or tensor.is_meta:
        return tensor
    # bytes that other types have left there, seen as bools; a comparison of bools would pass them on
    bytes_ = tensor.view(torch.uint8)
    return bytes_ != 0 if bool((bytes_ > 1).any()) else tensor


def dense(name: str, tensor: Tensor) -> Tensor:
    """Returns the values of a tensor, on the CPU, row by row.

    Raises:
        UsageError: the tensor is sparse, quantized, nested, or on the meta device.
    """
    _check_dense(name, tensor)
    return shown(tensor).detach().resolve_conj().resolve_neg().cpu().contiguous()


def _check_dense(name: str, tensor: Tensor) -> None:
    kinds = {"meta": tensor.is_meta, "quantized": tensor.is_quantized, "nested": tensor.is_nested}
    kinds[str(tensor.layout).removeprefix("torch.")] = tensor.layout != torch.strided
    if found := [kind for kind, holds in kinds.items() if holds]:
        raise UsageError(f"{name} is no dense tensor with values but {found[0]}; expected one")


def checked_device(device: object) -> torch.device:
    """Returns a device that tensors can be put on here.

    Raises:
        UsageError: it is none, or this machine does not have it.
    """
    if isinstance(device, bool) or not isinstance(device, (str, int, torch.device)):
        raise UsageError(f"device is a {type(device).__name__}; expected one such as 'cpu' or 'cuda:0'")
    try:
        return torch.empty(0, device=device).device
    except Exception as error:  # torch raises what it likes at devices that it does not have
        reason = str(error).splitlines()[0]
        raise UsageError(f"device is {str(device)!r}; expected one such as 'cpu' or 'cuda:0': {reason}") from None


def check_sizes(state: Mapping[str, Tensor], limit: int = LIMIT) -> None:
    """Refuses tensors that need far more memory in a file than they have: one number can be shown any number of times.

    Args:
        state: tensors by name.
        limit: most bytes that all tensors which are larger than their memory may take in a file.

    Raises:
        UsageError: names the tensor that needs the most, or one that is nested and so has no shape.
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
            f"{name} of shape {tuple(state[name].shape)} shows {state[name].untyped_storage().nbytes():,} bytes as "
            f"{larger[name]:,}; the limit for such tensors is {limit:,}"
        )
