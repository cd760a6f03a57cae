"""4-bit codes of powers of two: exact, half a byte a weight, and refused where they would not be exact."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from demitasse import IncrementalQuantization
from demitasse.runtime.native.llvm import Machine
from demitasse.runtime.native.nibbles import Nibbles, nibbles, suits
from demitasse.runtime.native.plan import NativePlan
from tests.runtime.native.nets import graph, ip, layer, net
from tests.runtime.native.test_plan import MACHINES

Matrix = npt.NDArray[np.float32]


def powers(rows: int, columns: int, largest: int = 0, levels: int = 7, density: float = 0.9) -> Matrix:
    random = np.random.default_rng(rows * columns)
    exponents = largest - random.integers(0, levels, (rows, columns))
    signs = random.choice([-1, 1], (rows, columns)) * (random.random((rows, columns)) < density)
    return (np.ldexp(1.0, exponents) * signs).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 300),
    st.integers(-119, 104),
    st.integers(1, 7),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([4, 8, 16]),
)
def test_codes_are_exact(rows: int, columns: int, largest: int, levels: int, density: float, lanes: int) -> None:
    matrix = powers(rows, columns, largest, levels, density) * np.float32(1.25)
    assert suits(matrix)
    assert np.array_equal(nibbles(matrix, lanes).dense(rows, columns), matrix)


def test_a_weight_takes_half_a_byte() -> None:
    found = nibbles(powers(64, 1024), 16)
    assert isinstance(found, Nibbles)
    assert found.nbytes == 64 * 1024 // 2 + 64 * 4


@pytest.mark.parametrize(
    ("entries", "fits"),
    [
        ([1, -0.5, 0, 0.25], True),
        ([1, 2**-6, -0.0, 2**-3], True),
        ([1, 2**-7, 0, 0], False),
        ([1, 0.75, 0, 0], False),
        ([3, 0.75, -1.5, 0], True),
        ([0, 0, 0, 0], True),
        ([2**-126, -(2**-120), 0, 0], True),
        ([2**-127, 2**-126, 0, 0], False),
        ([1e-45, 0, 0, 0], False),
        ([2**104, 2**100, 0, 0], True),
        ([2**105, 2**100, 0, 0], False),
        ([float("inf"), 1, 0, 0], False),
        ([float("nan"), 1, 0, 0], False),
    ],
)
def test_what_suits(entries: list[float], fits: bool) -> None:
    matrix = np.array([entries], np.float32)
    assert suits(matrix) == fits
    assert suits(np.concatenate([powers(3, 4), matrix])) == fits


def test_rows_may_have_factors_and_exponents_of_their_own() -> None:
    matrix = powers(6, 40) * np.array([[1], [0.3], [7], [1e-9], [-1e9], [1]], np.float32)
    assert suits(matrix)
    assert np.array_equal(nibbles(matrix, 8).dense(6, 40), matrix)
    assert not suits(powers(6, 40) * np.linspace(1, 2, 40, dtype=np.float32))
    assert not suits(np.zeros((0, 4), np.float32))


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())
@pytest.mark.parametrize("largest", [-100, 0, 90])
def test_values_of_any_size(machine: Machine, largest: int) -> None:
    built = net(ip("data", "a", 30), (1, 200, 1, 1))
    weight = torch.from_numpy(powers(30, 200, largest))
    with torch.no_grad():
        built.layer("a").weight.copy_(weight)
    plan = NativePlan(graph(built), 3, 1, machine)
    assert plan.nbytes <= 32 * (256 // 2 + 4)
    for size in (2.0**-20, 1.0, 2.0**20):
        x = torch.randn(3, 200, 1, 1) * size
        expected = x[..., 0, 0].double() @ weight.double().T + built.layer("a").bias.double()
        assert float((plan({"data": x})["a"] - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def test_what_is_not_finite_goes_where_it_goes_in_pytorch() -> None:
    """Also a weight of zero is multiplied, so that zero times an infinite input is NaN."""
    built = net(ip("data", "a", 5), (1, 50, 1, 1))
    with torch.no_grad():
        built.layer("a").weight.copy_(torch.from_numpy(powers(5, 50, density=0.5)))
    plan = NativePlan(graph(built), 2, 1)
    for value in (float("nan"), float("inf")):
        x = torch.randn(2, 50, 1, 1)
        x[1, 7] = value
        torch.testing.assert_close(
            plan({"data": x})["a"], built({"data": x})["a"], rtol=1e-5, atol=1e-4, equal_nan=True
        )


@pytest.mark.parametrize("per", ["tensor", "channel"])
@pytest.mark.parametrize("bits", [3, 4])
def test_weights_of_incremental_quantization_suit(bits: int, per: Literal["tensor", "channel"]) -> None:
    model = torch.nn.Linear(60, 20)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert list(IncrementalQuantization(model, optimizer, bits=bits, per=per, portions=[1.0])) == [1.0]
    assert suits(model.weight.detach().numpy())


def test_few_images_of_dense_powers_are_computed_from_codes_and_others_are_not() -> None:
    built = net(ip("data", "a", 64) + layer("ReLU", "a", "b"), (1, 256, 1, 1))
    with torch.no_grad():
        built.layer("a").weight.copy_(torch.from_numpy(powers(64, 256)))
    sizes = {batch: NativePlan(graph(built), batch, 1).nbytes for batch in (1, 4, 9)}
    assert sizes[1] == sizes[4] == 64 * 256 // 2 + 64 * 4 < sizes[9]
    with torch.no_grad():
        built.layer("a").weight.mul_(torch.rand(64, 256, generator=torch.Generator().manual_seed(3)) < 0.02)
    assert NativePlan(graph(built), 1, 1).nbytes < 64 * 256 // 4
