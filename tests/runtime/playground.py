"""Sparse modules, and whether a fast module computes the same."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def sparse(model: nn.Module, density: float = 0.1) -> nn.Module:
    """Returns a model in evaluation with random statistics, most of whose weights are zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
            if isinstance(module, nn.Linear | nn.Conv2d):
                kept = torch.rand(module.weight.shape, generator=generator) < density
                module.weight.mul_(kept).mul_(density**-0.5)
    return model.eval()


def agree(model: nn.Module, fast: nn.Module, *args: Any, **kwargs: Any) -> None:
    with torch.no_grad():
        expected, found = model(*args, **kwargs), fast(*args, **kwargs)
    assert type(found) is type(expected)
    given, wanted = (torch.utils._pytree.tree_leaves(each) for each in (found, expected))
    for left, right in zip(given, wanted, strict=True):
        assert not left.requires_grad
        size = float(right.abs().max()) + 1e-30 if right.numel() else 1.0
        assert left.shape == right.shape
        assert left.numel() == 0 or float((left - right).abs().max()) <= 1e-4 * size
