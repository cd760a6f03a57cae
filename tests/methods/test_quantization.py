"""Incremental quantization on modules: grids, portions, partitions, reports."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import demitasse
from demitasse.errors import MethodError
from demitasse.methods import freezing, pow2
from demitasse.methods.records import FREE, FROZEN
from tests.methods.playground import check, net, pruned, sgd, train


def linear(weight: Tensor) -> tuple[nn.Linear, torch.optim.SGD]:
    model = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        model.weight.copy_(weight)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def quantize(model: nn.Module, optimizer: torch.optim.Optimizer, **settings: Any) -> demitasse.IncrementalQuantization:
    return demitasse.IncrementalQuantization(model, optimizer, **settings)


@pytest.mark.parametrize("portions", [(0.5, 1.0), (0.3, 0.31, 0.9)])
def test_portions_and_grids_are_those_of_the_caffe_side(portions: tuple[float, ...]) -> None:
    """Only where zero ends differs: freeze() of the Caffe layers, step by step, on weights above that."""
    weight = torch.randn(40, 25, generator=torch.Generator().manual_seed(0))
    weight = weight.sign() * weight.abs().clamp(min=0.4)
    weight *= 1 + torch.arange(1000.0).reshape(40, 25) * 1e-5  # no ties, which the Caffe layers freeze together
    model, optimizer = linear(weight)
    values, free = weight.clone(), torch.ones_like(weight, dtype=torch.bool)
    before = 0.0
    for portion in quantize(model, optimizer, exponents=4, portions=portions):
        freezing.freeze(values, free, freezing.Portions(before, portion), 4)
        before = portion
        assert torch.equal(model.weight.detach(), values)


@pytest.mark.parametrize("per", ["tensor", "channel"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_zero_ends_at_half_of_the_least_power(per: str, dtype: torch.dtype) -> None:
    model, optimizer = linear(torch.tensor([[1.0, 0.74, 0.75, 0.375, 0.374, 0.25, 0.249, -0.25, 0.0]]))
    model.to(dtype)
    list(quantize(model, optimizer, exponents=2, portions=(1.0,), per=per))
    assert model.weight[0].tolist() == [1.0, 0.5, 1.0, 0.5, 0.5, 0.5, 0.0, -0.5, 0.0]


@pytest.mark.parametrize(("bits", "zeros"), [(3, 0.79), (4, 0.25)])
def test_zeros_of_normal_weights(bits: int, zeros: float) -> None:
    weight = torch.randn(500, 1000, generator=torch.Generator().manual_seed(0)) * 0.1
    model, optimizer = linear(weight)
    list(quantize(model, optimizer, bits=bits, portions=(1.0,)))
    assert (model.weight == 0).double().mean().item() == pytest.approx(zeros, abs=0.006)


@pytest.mark.parametrize(("bits", "levels"), [(2, 1), (3, 2), (4, 4), (5, 8)])
def test_bits_are_the_papers(bits: int, levels: int) -> None:
    model, optimizer = linear(torch.randn(50, 50, generator=torch.Generator().manual_seed(0)))
    method = quantize(model, optimizer, bits=bits, portions=(1.0,))
    list(method)
    (row,) = method.report().rows
    assert row.exponents is not None
    least, largest = row.exponents
    assert largest - least + 1 == levels
    found = torch.unique(model.weight.detach().abs())
    assert set(found.tolist()) <= {0.0, *(2.0**power for power in range(least, largest + 1))}


def test_bits_of_single_layers() -> None:
    model = net()
    before = model.conv.weight.detach().clone()
    method = quantize(model, sgd(model), bits={"fc": 3, "conv*": 5, "*": 2}, portions=(0.5, 1.0))
    assert method.levels == {"conv.weight": 8, "fc.weight": 2}
    list(method)
    assert not torch.equal(model.conv.weight, before)
    rows = {row.name: row for row in method.report().rows}
    for name, levels in method.levels.items():
        low, high = rows[name].exponents
        assert high - low + 1 == levels
        assert bool(pow2.on_grid(model.get_parameter(name).detach()).all())


def test_layers_without_bits_stay_as_they_are() -> None:
    model = net()
    before = model.conv.weight.detach().clone()
    for parameters in (None, ["conv", "fc"]):
        method = quantize(model, sgd(model), bits={"fc": 3}, parameters=parameters, portions=(1.0,))
        assert list(method.levels) == ["fc.weight"]
        list(method)
        assert torch.equal(model.conv.weight, before)
        assert "conv.weight" in {item.name for item in method.dense}
        method.finish()
    assert any("bits has no value for it" in item.reason for item in method.dense)


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ({}, "bits is empty; expected a number, or a mapping"),
        ({"fcc": 3}, "bits: 'fcc' matches no parameter"),
        ({"fc": 1}, "1 bits cannot hold a sign"),
        ({"fc": 3.5}, r"bits is 3\.5; expected a whole number, for 'fc'"),
        ({"conv": 3}, "bits has a value for none of the chosen parameters"),
    ],
)
def test_bits_of_layers_without_meaning(bits: dict[str, Any], message: str) -> None:
    model = net()
    with pytest.raises(MethodError, match=message):
        quantize(model, sgd(model), bits=bits, parameters=["fc"])


def test_a_range_that_is_given() -> None:
    model, optimizer = linear(torch.tensor([[0.1, 0.3, 0.8, 5.0]]))
    method = quantize(model, optimizer, exponents=(-2, 0), portions=(1.0,))
    list(method)
    assert model.weight[0].tolist() == [0.0, 0.25, 1.0, 1.0]
    report = method.report()
    assert (report.rows[0].exponents, report.rows[0].clipped) == ((-2, 0), 1)
    assert "1 values had grown beyond their grid and were clipped to it" in report.notes


@pytest.mark.parametrize("kind", ["linear", "convolution", "transposed"])
def test_grids_of_single_channels(kind: str) -> None:
    layers = {"linear": nn.Linear(6, 4), "convolution": nn.Conv2d(6, 4, 3), "transposed": nn.ConvTranspose2d(6, 4, 3)}
    model, axis = layers[kind], int(kind == "transposed")
    scale = torch.tensor([1.0, 0.01, 0.0, 30.0]).reshape([-1 if i == axis else 1 for i in range(model.weight.ndim)])
    with torch.no_grad():
        model.weight.copy_(torch.randn(model.weight.shape, generator=torch.Generator().manual_seed(0)) * scale)
    before = model.weight.detach().clone()
    list(quantize(model, torch.optim.SGD(model.parameters(), lr=0.1), bits=4, portions=(1.0,), per="channel"))
    for channel, values in zip(before.unbind(axis), model.weight.detach().unbind(axis), strict=True):
        largest = float(channel.abs().max())
        expected = pow2.project(channel, pow2.grid(largest, 4)) if largest else channel
        assert torch.equal(values, expected)


@pytest.mark.parametrize("per", ["tensor", "channel"])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_grids_of_the_least_error(per: str, bits: int) -> None:
    weight = torch.randn(5, 400, generator=torch.Generator().manual_seed(0)) * torch.tensor([[1, 0.01, 0, 30, 0.4]]).T
    model, optimizer = linear(weight)
    list(quantize(model, optimizer, bits=bits, portions=(1.0,), per=per, fit="error"))
    levels, found = pow2.levels_of_bits(bits), model.weight.detach()
    for before, after in zip(*((t if per == "channel" else t.reshape(1, -1)) for t in (weight, found)), strict=True):
        largest = float(before.abs().max())
        if not largest:
            assert not after.any()
            continue
        top = pow2.grid(largest, levels).largest
        grids = [pow2.project(before, pow2.Exponents(t - levels + 1, t)) for t in range(top - 6, top + 2)]
        errors = [float((grid.double() - before).square().sum()) for grid in grids]
        assert torch.equal(after, grids[errors.index(min(errors))])


def test_random_partition_freezes_as_many_but_others() -> None:
    weight = torch.randn(60, 50, generator=torch.Generator().manual_seed(0))
    frozen = []
    for settings in ({}, {"partition": "random"}, {"partition": "random"}, {"partition": "random", "seed": 1}):
        model, optimizer = linear(weight)
        method = quantize(model, optimizer, bits=4, portions=(0.5, 1.0), **settings)
        next(iter(method))
        frozen.append(method.records["weight"].status == FROZEN)
        assert int(frozen[-1].sum()) == 1500
    magnitude, first, again, other = frozen
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, magnitude)
    # chance, not size: about half of the larger half
    assert 0.4 < float(first[magnitude].float().mean()) < 0.6


def test_what_is_zero_counts_as_pruned() -> None:
    model, optimizer = linear(torch.tensor([[0.0, 0.0, 1.0, 0.6, 0.3, 0.2]]))
    method = quantize(model, optimizer, bits=5, portions=(0.5, 1.0))
    next(iter(method))
    assert int((method.records["weight"].status == FREE).sum()) == 2
    assert method.report().rows[0].frozen == 4


def test_what_is_not_finite_is_refused() -> None:
    model, optimizer = linear(torch.tensor([[float("nan"), 1.0]]))
    with pytest.raises(MethodError, match=r"the largest weight of weight is nan; expected a finite number"):
        next(iter(quantize(model, optimizer, bits=4)))


def test_freezing_beyond_the_last_portion() -> None:
    model = net()
    method = quantize(model, sgd(model), bits=4, portions=(0.5,))
    method.freeze()
    with pytest.raises(MethodError, match=r"all portions are frozen already, up to 0\.5"):
        method.freeze()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "expected one of bits and exponents"),
        ({"bits": 4, "exponents": 7}, "expected one of bits and exponents, found both"),
        ({"bits": 1}, "1 bits cannot hold a sign"),
        ({"exponents": 0}, "exponents is 0; expected 1 or more"),
        ({"bits": 11}, "weight: a grid of 512 powers of two is beyond float32, which has 277"),
        ({"bits": 33}, "bits is 33, but float64 has only 2098 powers of two"),
        ({"bits": 4.5}, "bits is 4.5; expected a whole number"),
        ({"exponents": 278}, "weight: a grid of 278 powers of two is beyond float32"),
        ({"exponents": (200, 300)}, r"weight: powers of two from 2\^200 to 2\^300 are beyond float32"),
        ({"exponents": (-150, 0)}, "are beyond float32, which has 2\\^-149 to 2\\^127"),
        ({"exponents": (float("nan"), 1)}, "each of exponents is nan; expected a whole number"),
        ({"exponents": (0.5, 1)}, "each of exponents is 0.5; expected a whole number"),
        ({"exponents": (1, 2, 3)}, r"exponents is \(1, 2, 3\); expected a pair"),
        ({"exponents": (1, 0)}, r"exponents is \(1, 0\); expected a pair \(least, largest\)"),
        ({"bits": 4, "portions": ()}, r"portions is \(\); expected increasing shares"),
        ({"bits": 4, "portions": (0.5, 0.5)}, "expected increasing shares, above 0 and at most 1"),
        ({"bits": 4, "portions": (0.5, 1.5)}, "expected increasing shares"),
        ({"bits": 4, "partition": "size"}, "partition is 'size'; expected 'magnitude' or 'random'"),
        ({"bits": 4, "per": "layer"}, "per is 'layer'; expected 'tensor' or 'channel'"),
    ],
)
def test_settings_without_meaning(settings: dict[str, Any], message: str) -> None:
    model = net()
    with pytest.raises(MethodError, match=message):
        quantize(model, sgd(model), **settings)


@pytest.mark.parametrize(
    ("dtype", "settings"),
    [
        (torch.float16, {"bits": 8}),
        (torch.float16, {"exponents": (-25, 0)}),
        (torch.float16, {"exponents": (0, 16)}),
        (torch.bfloat16, {"bits": 11}),
        (torch.bfloat16, {"exponents": (-134, -120)}),
        (torch.float64, {"exponents": (0, 1024)}),
    ],
)
def test_a_grid_beyond_the_type_attaches_nothing(dtype: torch.dtype, settings: dict[str, Any]) -> None:
    model = net().to(dtype)
    optimizer = sgd(model)
    with pytest.raises(MethodError, match=r"conv\.weight: .* beyond"):
        quantize(model, optimizer, **settings)
    assert "step" not in vars(optimizer) or not hasattr(optimizer.step, "__wrapped__")
    quantize(model, optimizer, bits=4)


def test_a_module_that_was_moved_to_a_smaller_type_is_left_as_it_was() -> None:
    model = net()
    method = quantize(model, sgd(model), exponents=(-30, 0), portions=(1.0,))
    model.half()
    before = model.fc.weight.detach().clone()
    with pytest.raises(MethodError, match=r"conv.weight: powers of two from 2\^-30 to 2\^0 are beyond float16"):
        method.freeze()
    assert torch.equal(before, model.fc.weight)


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        (torch.float16, 6e4, "fc.weight: the largest weight is nearest to 2\\^16; the largest of float16 is 2\\^15"),
        (
            torch.float32,
            3.3e38,
            "fc.weight: the largest weight is nearest to 2\\^128; the largest of float32 is 2\\^127",
        ),
        (torch.float32, float("nan"), "the largest weight of fc.weight is nan"),
        (torch.float32, float("-inf"), "the largest weight of fc.weight is inf"),
    ],
)
@pytest.mark.parametrize("per", ["tensor", "channel"])
def test_what_cannot_be_frozen_leaves_every_layer_as_it_was(
    dtype: torch.dtype, value: float, message: str, per: str
) -> None:
    model = net().to(dtype)
    before = model.conv.weight.detach().clone()
    method = quantize(model, sgd(model), bits=4, per=per)
    with torch.no_grad():
        model.fc.weight[3, 5] = value
    with pytest.raises(MethodError, match=message):
        method.freeze()
    assert torch.equal(before, model.conv.weight)
    assert method.stage == 0
    assert not any(record.count(FROZEN) for record in method.records.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsity": None}, "neither sparsity nor c_rate is given"),
        ({"c_rate": 1.0}, "both sparsity and c_rate are given"),
        ({"sparsity": 1.5}, r"sparsity is 1\.5; expected a share from 0 to 1"),
        ({"sparsity": {"fc": -1}}, "sparsity is -1"),
        ({"stop": 3}, "stop is 3, but the ramp ends at step 4"),
        ({"alpha_low": 0.0}, "alpha_low is 0"),
        ({"gamma": -1.0}, "gamma is -1"),
        ({"scope": "net"}, "scope is 'net'; expected 'global' or 'layer'"),
        ({"ramp": -1}, "ramp is -1"),
    ],
)
def test_settings_of_surgery_without_meaning(settings: dict[str, Any], message: str) -> None:
    model = net()
    with pytest.raises(MethodError, match=message):
        pruned(model, sgd(model), **settings)


def test_surgery_by_c_rate_takes_statistics_once() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = demitasse.Surgery(model, optimizer, c_rate={"conv": 0.0, "fc": 1.0}, gamma=0)
    train(model, optimizer, 1)
    thresholds = dict(surgery.thresholds)
    train(model, optimizer, 20, after=lambda: check(model, surgery))
    assert surgery.thresholds == thresholds
    assert surgery.c_rates == {"conv.weight": 0.0, "fc.weight": 1.0}
    assert surgery.report().sparsity > 0.5


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_targets_are_met_exactly(scope: str) -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer, sparsity=0.75, scope=scope)
    train(model, optimizer, 15)
    report = surgery.report()
    if scope == "layer":
        assert [row.kept for row in report.rows] == [9, 360]
    assert report.kept == 369


def test_surgery_stops() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer, stop=8)
    train(model, optimizer, 8)
    masks = surgery.masks()
    train(model, optimizer, 10, after=lambda: check(model, surgery))
    assert all(torch.equal(mask, surgery.masks()[name]) for name, mask in masks.items())


def test_the_report_says_when_targets_are_not_reached() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer, ramp=100)
    train(model, optimizer, 10)
    report = surgery.report()
    assert "the targets are not reached yet: step 10 of 100 of the ramp" in str(report)
    dense = "dense (not a weight of a linear or convolution layer): {conv,fc}.bias (2), norm.{weight,bias} (2)"
    assert dense in str(report)
    assert report.as_plain()["rows"][1]["target"] == 0.8


@pytest.mark.parametrize("per", ["tensor", "channel"])
def test_exponents_that_would_leave_no_weight_are_refused_before_the_first_change(per: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(2.0**100)
    before = [parameter.clone() for parameter in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    method = demitasse.IncrementalQuantization(model, optimizer, exponents=(100, 107), per=per)  # type: ignore[arg-type]
    message = r"1\.weight: all 256 nonzero weights are too small for the given exponents, 2\^100 \.\. 2\^107"
    with pytest.raises(MethodError, match=message):
        next(iter(method))
    assert all(map(torch.equal, before, model.parameters()))
    assert method.stage == 0


@pytest.mark.parametrize(
    ("few", "rest", "message"),
    [
        (1.0, 0.01, r"0\.weight: 255 of 256 weights become 0 by the given exponents, 2\^-1 \.\. 2\^0"),
        (1.0, 9.0, r"0\.weight: 255 of 256 weights are clipped to the largest by the given exponents, 2\^-1 \.\. 2\^0"),
    ],
)
def test_exponents_that_hardly_tell_weights_apart_are_warned_of(few: float, rest: float, message: str) -> None:
    model = nn.Sequential(nn.Linear(16, 16, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(rest)[0, 0] = few
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    method = demitasse.IncrementalQuantization(model, optimizer, exponents=(-1, 0))
    with pytest.warns(UserWarning, match=message):
        method.freeze()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.freeze()
