"""Layers whose weights or padding are not plain numbers in the module are read as all others."""

from __future__ import annotations

import pytest
import torch
import torch.nn.utils.prune
from torch import nn

import demitasse
from tests.runtime.playground import agree, sparse


def test_weights_that_are_computed_are_computed_once() -> None:
    """Spectral norm, masks of torch's pruning and weight norm: what depends on no input is a weight as any other."""
    parametrizations = torch.nn.utils.parametrizations
    images, rows = torch.randn(2, 64, 9, 9), torch.randn(3, 64)
    masked = torch.nn.utils.prune.random_unstructured(nn.Conv2d(64, 64, 3), "weight", 0.95)
    for model, example in (
        (masked, images),
        (torch.nn.utils.spectral_norm(sparse(nn.Linear(64, 64))), rows),
        (torch.nn.utils.spectral_norm(sparse(nn.Conv2d(64, 64, 3))), images),
        (parametrizations.spectral_norm(sparse(nn.Conv2d(64, 64, 3))), images),
        (parametrizations.weight_norm(sparse(nn.Conv2d(64, 64, 3))), images),
    ):
        fast = demitasse.optimize(model.eval(), example)
        agree(model, fast, example)
        assert [layer.kernel for layer in fast.report(2).layers] == ["sparse"]


@pytest.mark.parametrize("kernel", [3, (3, 5), 4])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_by_a_word(padding: str, kernel: int | tuple[int, int]) -> None:
    model = sparse(nn.Conv2d(64, 64, kernel, padding=padding, dilation=(1, 3)))
    images = torch.randn(2, 64, 13, 14)
    is_uneven = padding == "same" and kernel == 4
    fast = demitasse.optimize(model, images if is_uneven else images[:1])  # torch.export fixes what it pads
    agree(model, fast, images)
    assert fast.report(2).layers[0].kernel == ("PyTorch" if is_uneven else "sparse")
