"""The layer-wise rate of LARS."""

from __future__ import annotations

import pytest
import torch

from demitasse.methods import lars


def test_local_rate():
    weight, gradient = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 2.0])
    assert lars.local_rate(weight, gradient, 0.01, 0.1).item() == pytest.approx(0.01 * 5 / (2 + 0.1 * 5))


@pytest.mark.parametrize(("w", "g"), [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_local_rate_is_one_without_a_norm(w, g):
    assert lars.local_rate(torch.full((3,), w), torch.full((3,), g), 0.01, 0.1).item() == 1
