"""The compiled loops on compressed parameters give what torch's operations give, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from demitasse.methods import compiled, exchange
from demitasse.methods.exchange import CUT, FREE, FROZEN, PRUNED, Boundary, Scales

SCALES = Scales(1 / 0.95, 1 / 1.05)
each_shape = pytest.mark.parametrize("shape", [(), (0,), (1,), (1000,), (8, 6, 5, 5), (1 << 21,)], ids=str)
each_layout = pytest.mark.parametrize("channels_last", [False, True])


def made(shape: tuple[int, ...], channels_last: bool) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    values, reserve = torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)
    status = torch.randint(0, 4, shape, generator=generator).to(torch.uint8)
    values[status == FROZEN] = 0.5
    # some cut entries were written from outside, the others are 0
    values[(status == PRUNED) | ((status == CUT) & (reserve < 0.5))] = 0
    tensors = values, status, reserve
    if channels_last and len(shape) == 4:
        tensors = tuple(tensor.contiguous(memory_format=torch.channels_last) for tensor in tensors)  # type: ignore[assignment]
    return tensors


def both_ways(monkeypatch: pytest.MonkeyPatch, function: Any, tensors: tuple[Tensor, ...], *arguments: Any) -> None:
    """Runs a function compiled and by torch's operations, on copies, and compares all that they change."""
    first, second = ([tensor.clone() for tensor in tensors] for _ in range(2))
    found = function(*first, *arguments)
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "flat", lambda *tensors: None)
        expected = function(*second, *arguments)
    if isinstance(found, Tensor):
        assert torch.equal(found, expected)
    else:
        assert found == expected
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


@each_shape
@each_layout
def test_all_passes(shape: tuple[int, ...], channels_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = made(shape, channels_last)
    both_ways(monkeypatch, exchange.put_back, tensors, True)
    both_ways(monkeypatch, exchange.take_out, tensors)
    for state in (CUT, PRUNED):
        both_ways(monkeypatch, exchange.cut, tensors, SCALES, Boundary(0.7), state)
    for prefix, shift, width in ((0, 20, 11), (1015, 9, 11), (1015 << 11, 0, 9), (0, 15, 16)):
        both_ways(monkeypatch, exchange.count, tensors, SCALES, prefix, shift, width)


def test_dense_values_come_and_go() -> None:
    values, status = torch.tensor([1.0, 0.0, 0.5, 0.0, 9.0]), torch.tensor([FREE, CUT, FROZEN, PRUNED, CUT]).byte()
    reserve = torch.tensor([7.0, 2.0, 7.0, 7.0, 3.0])
    assert not exchange.put_back(values, status, reserve, edited=False)
    assert values.tolist() == [1.0, 2.0, 0.5, 0.0, 9.0]  # 9 was written from outside, and wins
    values += 1
    exchange.take_out(values, status, reserve)
    assert values.tolist() == [2.0, 0.0, 0.5, 0.0, 0.0]
    assert reserve.tolist() == [7.0, 3.0, 0.5, 7.0, 10.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frozen_values_off_the_grid_are_seen(dtype: torch.dtype) -> None:
    status = torch.tensor([FREE, FROZEN]).byte()
    for value, off in ((0.5, False), (0.0, False), (0.3, True)):
        values = torch.tensor([0.3, value], dtype=dtype)
        assert exchange.put_back(values, status, torch.zeros_like(values), edited=True) == off


def test_what_is_cut_and_what_comes_back() -> None:
    values, reserve = torch.tensor([0.1, 1.0, 0.0, 0.0, 0.25]), torch.tensor([0.0, 0.0, 0.4, 2.0, 0.0])
    status = torch.tensor([FREE, FREE, CUT, CUT, FROZEN]).byte()
    exchange.cut(values, status, reserve, Scales(), Boundary(0.5))
    assert values.tolist() == pytest.approx([0.0, 1.0, 0.0, 2.0, 0.25])
    assert status.tolist() == [CUT, FREE, CUT, FREE, FROZEN]
    assert reserve[0] == pytest.approx(0.1)


def test_nan_is_kept() -> None:
    values, status = torch.tensor([np.nan, 0.1]), torch.zeros(2, dtype=torch.uint8)
    exchange.cut(values, status, torch.zeros(2), Scales(), Boundary(1.0))
    assert status.tolist() == [FREE, CUT]
