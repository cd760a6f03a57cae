"""The compiled passes give what the torch operations give."""

from __future__ import annotations

import pytest
import torch

from demitasse.methods import fused

SHAPES = [(7,), (13, 5), (8, 1, 5, 5), (6, 4, 3, 3), ((1 << 20) + 3,)]
FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def tensors(shape, memory_format, count):
    torch.manual_seed(0)
    made = [torch.randn(shape) for _ in range(count)]
    return [t.contiguous(memory_format=memory_format) if t.ndim == 4 else t for t in made]


def eager(monkeypatch, function, *args, **kwargs):
    """Runs a pass by torch's operations."""
    with monkeypatch.context() as patch:
        patch.setattr(fused, "flat", lambda *tensors: None)
        function(*args, **kwargs)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_masks(shape, memory_format, monkeypatch):
    weight, other = tensors(shape, memory_format, 2)
    weight.flatten()[0] = float("nan")
    mask, out = other > 0, torch.empty_like(weight)
    mask2, out2 = mask.clone(), torch.empty_like(weight)
    fused.operate(weight, mask, out, 0.4, 0.6)
    eager(monkeypatch, fused.operate, weight, mask2, out2, 0.4, 0.6)
    assert torch.equal(mask, mask2)
    assert torch.equal(out.nan_to_num(7), out2.nan_to_num(7))
    assert 0 < mask.count_nonzero() < mask.numel()
    fused.apply_mask(other, mask, out)
    assert torch.equal(out, torch.where(mask, other, 0))
    eager(monkeypatch, fused.apply_mask, other, mask, out2)
    assert torch.equal(out, out2)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_sgd(shape, memory_format, frozen, monkeypatch):
    start, gradient, velocity, noise = tensors(shape, memory_format, 4)
    free = noise > 0 if frozen else None
    settings = {"momentum": 0.9, "rate": 0.1, "scale": 0.5, "decay": 0.01, "free": free}
    weight, history = start.clone(), velocity.clone()
    weight2, history2 = start.clone(), velocity.clone()
    fused.sgd(weight, gradient, history, **settings)
    eager(monkeypatch, fused.sgd, weight2, gradient, history2, **settings)
    torch.testing.assert_close(weight, weight2, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(history, history2, rtol=1e-6, atol=1e-6)
    exact = 0.9 * velocity.double() + 0.1 * (0.5 * gradient.double() + 0.01 * start.double())
    if free is not None:
        assert torch.equal(weight[~free], start[~free])
        assert not history[~free].any()
        exact[~free] = 0
    torch.testing.assert_close(weight.double(), start.double() - exact, rtol=0, atol=1e-6)


def test_sgd_keeps_frozen_bits_under_a_broken_gradient():
    weight, history = torch.tensor([-0.0, 0.5]), torch.zeros(2)
    gradient = torch.tensor([float("nan"), float("inf")])
    fused.sgd(weight, gradient, history, momentum=0.9, rate=1, free=torch.zeros(2, dtype=torch.bool))
    assert weight.tolist() == [0, 0.5]
    assert torch.signbit(weight[0])
    assert history.tolist() == [0, 0]


def test_layouts_that_differ_are_handled():
    weight, gradient = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2)
    last = gradient.contiguous(memory_format=torch.channels_last)
    one, two = weight.clone(), weight.clone()
    fused.sgd(one, gradient, torch.zeros_like(one), momentum=0, rate=1)
    fused.sgd(two, last, torch.zeros_like(two), momentum=0, rate=1)
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_and_gaps_in_memory(dtype):
    weight = torch.arange(-4, 4).to(dtype)
    mask, out = torch.ones(8, dtype=torch.bool), torch.empty_like(weight)
    fused.operate(weight, mask, out, 2.0, 3.0)
    assert out.tolist() == [-4, -3, 0, 0, 0, 0, 0, 3]
    gaps = torch.arange(10.0)[::2]
    fused.sgd(gaps, torch.ones(5), torch.zeros(5), momentum=0, rate=1)
    assert gaps.tolist() == [-1, 1, 3, 5, 7]


def test_autograd_notices_the_change():
    weight = torch.randn(5, requires_grad=True)
    loss = (weight**2).sum()
    fused.sgd(weight, torch.ones(5), torch.zeros(5), momentum=0, rate=1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_meta_tensors():
    weight = torch.empty(3, 2, device="meta")
    mask, out = torch.empty(3, 2, device="meta", dtype=torch.bool), torch.empty_like(weight)
    fused.operate(weight, mask, out, 1.0, 2.0)
    fused.sgd(weight, weight, torch.empty_like(weight), momentum=0, rate=1)
    assert out.shape == (3, 2)
