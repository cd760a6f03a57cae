"""How many threads our kernels use."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from demitasse import optimize
from demitasse.runtime.cost import useful_threads
from tests.runtime.playground import sparse


@pytest.mark.parametrize(
    ("width", "batch", "alone", "beside"),
    [
        (8, 1, 1, 1),  # microseconds
        (64, 1, 2, 1),  # as long as PyTorch's threads look for work
        (64, 16, 2, 2),
    ],
)
def test_threads_are_used_where_they_save_time(width: int, batch: int, alone: int, beside: int) -> None:
    module = sparse(nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3)), 0.3)
    graph = optimize(module, torch.zeros(1, 3, 48, 48)).plan.graph
    assert useful_threads(graph, batch, 1) == 1
    assert useful_threads(graph, batch, 2) == alone
    assert useful_threads(graph, batch, 2, beside_torch=True) == beside
