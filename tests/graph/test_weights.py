"""What is asked of a weight, whatever it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from demitasse.graph import weights
from demitasse.graph.weights import Weight

VALUES = np.array([[0.5, 0, 0], [0, -2, 1]], np.float32)
KINDS = {
    "tensor": lambda: torch.from_numpy(VALUES.copy()),
    "half": lambda: torch.from_numpy(VALUES.copy()).bfloat16(),
    "trained": lambda: torch.nn.Parameter(torch.from_numpy(VALUES.copy())),
    "array": lambda: VALUES.copy(),
    "packed": lambda: weights.packed(VALUES),
}


@pytest.fixture(params=KINDS)
def weight(request: pytest.FixtureRequest) -> Weight:
    return KINDS[request.param]()


def test_facts(weight: Weight) -> None:
    assert tuple(weight.shape) == (2, 3)
    assert (weights.size(weight), weights.kept(weight)) == (6, 3)
    assert weights.is_float32(weight) == (getattr(weight, "dtype", None) != torch.bfloat16)
    assert weights.is_on_cpu(weight)
    assert weights.nbytes(weight) > 0


def test_values(weight: Weight) -> None:
    assert weights.array(weight).dtype == np.float32
    assert np.array_equal(weights.array(weight), VALUES)
    assert weights.doubles(weight).dtype == np.float64
    assert np.array_equal(weights.doubles(weight), VALUES)
    assert np.array_equal(weights.tensor(weight).detach().float(), VALUES)
    assert np.array_equal(weights.packed(weight).array(), VALUES)


def test_scaled(weight: Weight) -> None:
    found = weights.scaled(weight, np.array([2.0, 0.25]))
    assert type(found) is (torch.Tensor if isinstance(weight, torch.Tensor) else type(weight))
    assert np.array_equal(weights.array(found), VALUES * [[2], [0.25]])
    assert np.array_equal(weights.array(weight), VALUES)


def test_like(weight: Weight) -> None:
    found = weights.like(weight, np.array([0.5, 3.0]))
    assert weights.array(found).tolist() == [0.5, 3]
    assert getattr(found, "dtype", None) == getattr(weight, "dtype", np.float32)
    assert not getattr(found, "requires_grad", False)
