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
    if tensor.is_meta or tensor.is_quantized or tensor.is_nested or tensor.layout != torch.strided:
        kind = "meta" if tensor.is_meta else "quantized" if tensor.is_quantized else str(tensor.layout)
        raise UsageError(f"{name} is no dense tensor with values but {kind.removeprefix('torch.')}; expected one")
    return shown(tensor).detach().resolve_conj().resolve_neg().cpu().contiguous()


def check_sizes(state: Mapping[str, Tensor], limit: int = LIMIT) -> None:
    """Refuses tensors that need far more memory in a file than they have: one number can be shown any number of times.

    Args:
        state: tensors by name.
        limit: most bytes that all tensors which are larger than their memory may take in a file.

    Raises:
        UsageError: names the tensor that needs the most.
    """
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
