"""Reorders the hidden units of a PyTorch module, and removes dead ones."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from demitasse.formats.tensors import to_packed, to_torch
from demitasse.methods import settings
from demitasse.methods.selection import unwrap
from demitasse.packed.order import BUDGET, reorder
from demitasse.reorder.walk import find_links

__all__ = ["find_links", "reorder_units"]


def reorder_units(
    model: nn.Module,
    example: Tensor | tuple[object, ...],
    *,
    search: bool = True,
    remove_dead: bool = False,
    budget: int = BUDGET,
) -> nn.Module:
    """Returns a copy of a module that computes the same, and whose .demi file is smaller.

    Args:
        model: the module, wrapped or not.
        example: an input, or a tuple of the arguments of ``forward``, with a batch axis.
        search: see :func:`demitasse.packed.order.reorder`.
        remove_dead: whether to remove units that are always zero in evaluation, or that no layer uses. Layers then have
            fewer features and channels, and the module that the file is loaded into must have as many.
        budget: see :func:`demitasse.packed.order.reorder`.

    Raises:
        UsageError: an argument is invalid; a tensor has a dtype that .demi does not hold; or see
            :func:`demitasse.reorder.walk.find_links`.
    """
    settings.module("model", model)
    settings.flag("search", search)
    settings.flag("remove_dead", remove_dead)
    settings.whole("budget", budget, 0)
    found = copy.deepcopy(unwrap(model))
    links = find_links(found, example)
    tensors = [to_packed(name, tensor) for name, tensor in found.state_dict().items()]
    moving = {name for link in links for name in (*link.units, *link.next)}
    for tensor in reorder(tensors, links, search, remove_dead, budget).tensors:
        if tensor.name in moving:
            _put(found, tensor.name, to_torch(tensor))
    return found


@torch.no_grad()
def _put(model: nn.Module, name: str, value: Tensor) -> None:
    """Replaces a parameter or buffer by one that may be smaller, and updates the sizes that its layer states."""
    owner, _, attribute = name.rpartition(".")
    module: Any = model.get_submodule(owner)
    old = getattr(module, attribute)
    new = value.to(old.device)
    setattr(module, attribute, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new)
    if isinstance(module, nn.PReLU):
        module.num_parameters = len(value)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.num_features = len(value)
    elif attribute == "weight":
        sizes = ("out_features", "in_features") if isinstance(module, nn.Linear) else ("out_channels", "in_channels")
        for size, number in zip(sizes, value.shape[:2], strict=True):
            setattr(module, size, number)
