"""Caffe's layers and the classes for PyTorch decide alike, bit for bit; where they mean not to, a test says so.

A Caffe layer keeps dense values and a mask: ``surgery.decide`` and ``freezing.freeze``. Under PyTorch the parameter
has effective values and a reserve the others: ``exchange.cut`` and ``exchange.freeze``, compiled or not.
"""

from __future__ import annotations

import math
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import demitasse
from demitasse.errors import MethodError
from demitasse.methods import compiled, counts, exchange, freezing, fused, pow2, ranking, surgery
from demitasse.methods.exchange import CUT, FREE, FROZEN, PRUNED, Boundary, Scales
from demitasse.methods.freezing import Portions
from demitasse.methods.ranking import Ranked
from tests.methods.playground import sgd

SMALLEST, LARGEST = 2.0**-149, torch.finfo(torch.float32).max
# ties, signs, zeros, subnormal numbers, and what has no end
ODD = [0.0, -0.0, 1.0, -1.0, 0.75, 0.5, -0.5, 0.375, 0.25, SMALLEST, -SMALLEST, 3 * SMALLEST, 2.0**-127, LARGEST]
ENDLESS = [math.inf, -math.inf, math.nan]
finite = st.sampled_from(ODD) | st.floats(width=32, allow_nan=False, allow_infinity=False) | st.floats(-2, 2, width=32)
lists = {"min_size": 1, "max_size": 40}
anything, numbers = st.lists(finite | st.sampled_from(ENDLESS), **lists), st.lists(finite, **lists)
bounds = st.floats(0, width=32) | st.sampled_from([abs(value) for value in ODD])
masks = st.integers(0, 2**40 - 1)
loops = compiled.flat


def by_torch(*tensors: Tensor) -> None:
    """Stands for ``compiled.flat``: the loops do not apply."""


ways = st.sampled_from([loops, by_torch])


def tensors(values: list[float], bits: int) -> tuple[Tensor, Tensor]:
    """Returns dense values and a mask."""
    return torch.tensor(values), torch.tensor([bool(bits >> place & 1) for place in range(len(values))])


def same_bits(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


def cut(dense: Tensor, kept: Tensor, scales: Scales, bound: float) -> tuple[Tensor, Tensor, Tensor]:
    """Decides as surgery does under PyTorch; returns the new mask, effective values and dense ones."""
    effective, reserve = torch.where(kept, dense, 0.0), torch.where(kept, 0.0, dense)
    status = torch.where(kept, FREE, CUT).to(torch.uint8)
    exchange.cut(effective, status, reserve, scales, Boundary(bound))
    after = status == FREE
    return after, effective, torch.where(after, effective, reserve)


@given(anything, masks, bounds, st.sampled_from([(1.0, 1.0), (0.5, 2.0), (0.25, 1.0)]), ways)
@example([1.0, -1.0, math.nan, math.inf, -0.0], 0b10101, 1.0, (1.0, 1.0), loops)
def test_masks(values, bits, t, alphas, way):
    dense, kept = tensors(values, bits)
    t = min(t, LARGEST / 4)  # twice of it has to be a number
    low, high = (alpha * t for alpha in alphas)
    expected = surgery.decide(dense, kept, low, high)
    mask, out = kept.clone(), torch.empty_like(dense)
    with patch.object(compiled, "flat", way), patch.object(fused, "flat", way):
        fused.operate(dense, mask, out, low, high)
        # a division by a power of two rounds nothing but subnormal numbers
        after, effective, still = cut(dense, kept, Scales(1 / alphas[0], 1 / alphas[1]), t)
    assert torch.equal(mask, expected)
    if alphas == (1.0, 1.0) or not bool((dense.abs() < 2.0**-124).logical_and(dense != 0).any()):
        assert torch.equal(after, expected)
        assert same_bits(effective, out)
        assert same_bits(still, dense)


@given(st.lists(st.floats(0.5, 2, width=32), **lists), masks, st.floats(0.5, 2, width=32), ways)
@example([float(np.float32(0.95)), float(np.float32(1.05))], 0b01, 1.0, loops)
def test_masks_differ_by_no_more_than_a_rounding(values, bits, t, way):
    """Caffe multiplies the threshold, PyTorch divides the weights, of which it needs an order: on purpose."""
    dense, kept = tensors(values, bits)
    schedule = surgery.Schedule(c_rate=0.0)
    low, high = schedule.bounds(surgery.Statistics(t, 0.0))
    with patch.object(compiled, "flat", way):
        after, _, _ = cut(dense, kept, Scales(1 / schedule.alpha_low, 1 / schedule.alpha_high), t)
    distance = (dense / torch.where(kept, low, high) - 1).abs()
    assert torch.equal(after[distance > 2**-22], surgery.decide(dense, kept, low, high)[distance > 2**-22])


@given(numbers, masks)
def test_statistics_differ_by_their_rounding(values, bits):
    """Caffe's sums are the original's in float32, one after the other; PyTorch's are exact on any sharding."""
    dense, kept = tensors([value if abs(value) > 1e-3 else 0.0 for value in values], bits)
    dense = dense.clamp(-1e3, 1e3)
    found, exact = surgery.statistics([dense], [kept]), counts.mean_and_deviation([(dense, dense * kept)])
    assert found.mean == pytest.approx(exact[0], rel=1e-5)
    assert found.deviation == pytest.approx(exact[1], rel=1e-2, abs=2e-3 * exact[0])


def test_surgery_is_due_at_the_same_iterations():
    model = nn.Linear(4, 4)
    method = demitasse.Surgery(model, sgd(model), c_rate=0.5, begin=10, stop=40, gamma=0.5, seed=3)
    schedule = surgery.Schedule(c_rate=0.5, gamma=0.5, iter_stop=30)
    due = []
    with patch.object(method, "cut_up_to", lambda *arguments: due.append(method.iteration)):
        for method.iteration in range(60):
            method.decide(None)
    draws = [surgery.uniform(3, step) for step in range(60)]
    assert due == [step for step in range(10, 60) if schedule.operates(step - 10, draws[step])]
    assert due[0] == 10
    assert 3 < len(due) < 25


def ranked_freeze(dense: Tensor, free: Tensor, keep: int, top: int, levels: int) -> tuple[Tensor, Tensor, int]:
    """Freezes as quantization does under PyTorch; returns values, what is free then, and how many were clipped."""
    values, status = dense.clone(), torch.where(free, FREE, FROZEN).to(torch.uint8)
    (boundary,) = ranking.smallest([Ranked(values, values, status, values)], [int(free.sum())], keep)
    clipped = exchange.freeze(values, status, values, boundary, torch.tensor([top]), 0, levels)
    return values, status == FREE, clipped


@given(numbers, st.integers(-149, 127), st.integers(1, 16), ways)
@example([0.75, 0.7499999, 0.375, -0.374, 0.25, 0.249], 0, 2, loops)
def test_frozen_values(values, top, levels, way):
    """The paper ends zero at 1/2 of the least power, and so does PyTorch; the fork, and so Caffe's layers, at 3/4."""
    levels = min(levels, top + 150)
    dense, status = torch.tensor(values), torch.zeros(len(values), dtype=torch.uint8)
    ours, grid = dense.clone(), pow2.Exponents(top - levels + 1, top)
    with patch.object(compiled, "flat", way):
        exchange.freeze(ours, status, ours.clone(), Boundary(-1.0), torch.tensor([top]), 0, levels)
    theirs = pow2.project(dense, grid, "fork")
    apart = (dense.double().abs() >= 2.0 ** (grid.least - 1)) & (dense.double().abs() < 0.75 * 2.0**grid.least)
    assert (status == FROZEN).all()
    assert same_bits(ours[~apart], theirs[~apart])
    assert same_bits(ours[apart], (dense[apart].sign() * 2.0**grid.least).float())
    assert not theirs[apart].any()


@given(numbers, masks, st.floats(0, 1), ways)
@example([1.0, -1.0, 1.0, 0.5], 0b1111, 0.5, loops)
@example([1.0, -1.0, 1.0, 0.5], 0b1111, 0.5, by_torch)
@example([0.0, -0.0, 0.0, SMALLEST], 0b1111, 0.5, loops)
def test_what_is_frozen(values, bits, share, way):
    """PyTorch freezes exactly so many, the last of equal ones; Caffe's layers all that are as large as the smallest."""
    dense, free = tensors(values, bits)
    keep = freezing.remaining(int(free.sum()), Portions(0.0, share))
    theirs = freezing.partition(dense, free, keep)
    if not theirs.any():
        return
    with patch.object(compiled, "flat", way):
        _, still_free, _ = ranked_freeze(dense, free, keep, 127, 1)
    ours = free & ~still_free
    ties = theirs & (dense.abs() == dense[theirs].abs().min())
    assert int(still_free.sum()) == keep
    assert not (ours & ~theirs).any()
    assert torch.equal(ours[~ties], theirs[~ties])
    assert ours[ties].tolist() == sorted(ours[ties].tolist())


sizes = st.floats(2.0**-40, 2.0**40, width=32)


@settings(max_examples=40)
@given(
    st.lists(sizes, min_size=2, max_size=24, unique=True),
    masks,
    st.integers(1, 8),
    st.lists(st.sampled_from([0.875, 1.0, 1.25]), min_size=3, max_size=3),
)
def test_whole_steps(values, signs, levels, changes):
    """Steps of the class and of the Caffe layer, with training in between: no ties, and nothing where zero ends."""
    magnitude, negative = tensors(values, signs)
    least = 2.0 ** int(pow2.exponent(magnitude.max()) - levels + 1)
    magnitude = torch.where(magnitude < 0.75 * least, magnitude / magnitude.max() * least / 4, magnitude)
    dense = torch.where(negative, -magnitude, magnitude)[None]
    model = nn.Linear(len(values), 1, bias=False)
    model.weight.data.copy_(dense)
    free, before = torch.ones_like(dense, dtype=torch.bool), 0.0
    method = demitasse.IncrementalQuantization(model, sgd(model), exponents=levels, portions=(0.5, 0.75, 1.0))
    for portion, change in zip(method, changes, strict=True):
        freezing.freeze(dense, free, Portions(before, portion), levels)
        before = portion
        assert same_bits(model.weight.detach(), dense)
        dense[free & ((dense * change).abs() >= 0.75 * least)] *= change
        model.weight.data.copy_(dense)


def test_zeros_are_pruned_under_pytorch_and_free_in_caffe():
    """There a mask says what is pruned; here what is zero as freezing begins."""
    dense = torch.tensor([[1.0, 0.0, 0.5, 0.0]])
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(dense)
    method = demitasse.IncrementalQuantization(model, sgd(model), exponents=3, portions=(0.5, 1.0))
    method.freeze()
    free = torch.ones_like(dense, dtype=torch.bool)
    freezing.freeze(dense, free, Portions(0.0, 0.5), 3)
    (record,) = method.records.values()
    assert record.status.tolist() == [[FROZEN, PRUNED, FREE, PRUNED]]
    assert free.tolist() == [[False, True, False, True]]


@pytest.mark.parametrize("bad", ENDLESS)
def test_what_has_no_end(bad):
    """Caffe's surgery keeps it, so that the run is seen to be lost; all others refuse it."""
    weight = torch.tensor([[bad, 1.0, 0.5, 0.25]])
    kept = torch.tensor([[True, False, True, False]])
    assert surgery.decide(weight, kept, 1.0, 1.5).tolist() == [[True, False, False, False]]
    with pytest.raises(MethodError, match="expected a finite number"):
        freezing.freeze(weight.clone(), torch.ones_like(kept), Portions(0.0, 0.5), 3)
    attached = [
        (lambda model: partial(demitasse.Surgery(model, sgd(model), c_rate=0.0).decide, None), "not finite"),
        (lambda model: partial(demitasse.Surgery(model, sgd(model), sparsity=0.5, ramp=0).decide, None), "not finite"),
        (lambda model: demitasse.IncrementalQuantization(model, sgd(model), bits=3).freeze, "a finite number"),
    ]
    for attach, message in attached:
        model = nn.Linear(4, 1, bias=False)
        act = attach(model)
        model.weight.data.copy_(weight)
        with pytest.raises(MethodError, match=message):
            act()
