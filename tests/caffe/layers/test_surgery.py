"""Layers under surgery: what they compute, when masks change, what a resume needs."""

from __future__ import annotations

import json
import logging
import math

import pytest
import torch

from demitasse.caffe import schema
from demitasse.errors import MethodError
from tests.golden.single import single_layer, single_net

WEIGHT = [[1.0, -2.0, 3.0], [-4.0, 0.5, 6.0]]
BIAS = [0.1, -5.0]


def inner_product(settings="gamma: 0", more="", phase=schema.TRAIN, kind="DNS"):
    """An inner product of 3 inputs and 2 outputs with fixed values."""
    text = f"inner_product_param {{ num_output: 2 {more} }} {kind.lower()}_inner_product_param {{ {settings} }}"
    layer = single_layer(f"{kind}InnerProduct", text.replace("c_inner", "cinner"), (4, 3), phase=phase)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(WEIGHT))
        if layer.bias is not None:
            layer.bias.copy_(torch.tensor(BIAS))
    return layer


def cut(layer, *where):
    """Sets mask entries of the weight to False."""
    for row, column in where:
        layer.weight_mask[row, column] = False


@pytest.mark.parametrize("kind", ["Convolution", "InnerProduct"])
@pytest.mark.parametrize("method", ["DNS", "C"])
@pytest.mark.parametrize("bias", [True, False])
def test_blobs(kind, method, bias):
    common = "num_output: 2" + ("" if bias else " bias_term: false")
    settings = (
        f"convolution_param {{ {common} kernel_size: 2 }}"
        if kind == "Convolution"
        else f"inner_product_param {{ {common} }}"
    )
    layer = single_layer(method + kind, settings, (2, 3, 4, 4))
    names = ["weight", "bias"] if bias else ["weight"]
    assert layer.blob_names == names + [f"{name}_mask" for name in names]
    for name in names:
        mask = layer.mask(name)
        assert mask.dtype == torch.bool
        assert mask.shape == getattr(layer, name).shape
        assert mask.all()
    assert layer(torch.ones(2, 3, 4, 4)).isfinite().all()


def test_mask_fillers():
    layer = inner_product('weight_mask_filler { type: "constant" value: 0 }')
    assert not layer.weight_mask.any()
    assert layer.bias_mask.all()
    with pytest.raises(MethodError, match=r"layer 'l'.*weight_mask_filler produces values other than 0 and 1"):
        inner_product('weight_mask_filler { type: "constant" value: 0.5 }')


def test_settings_without_meaning_name_the_layer():
    with pytest.raises(MethodError, match=r"layer 'l' \(net\): c_rate is NaN"):
        inner_product("c_rate: nan")
    with pytest.raises(MethodError, match=r"layer 'l' .*alpha_low is 2"):
        inner_product("alpha_low: 2")


def test_defaults_of_the_first_name():
    layer = single_layer("CConvolution", "convolution_param { num_output: 2 kernel_size: 2 }", (2, 3, 4, 4))
    schedule = layer.schedule
    assert (schedule.alpha_low, schedule.alpha_high) == (pytest.approx(0.9), pytest.approx(1.1))
    assert (schedule.c_rate, schedule.iter_stop) == (3, 10000)
    assert inner_product(kind="DNS").schedule.iter_stop == 1e6


def test_training_cuts_splices_and_masks():
    layer = inner_product("gamma: 0 c_rate: 0 alpha_low: 1 alpha_high: 1.5")
    cut(layer, (0, 2), (1, 2))
    layer.weight.data[0, 2] = 3.1
    top = layer(torch.eye(3))
    # kept: 1 2 4 0.5 0.1 5; mean 2.1, so up to 2.1 is cut and above 3.15 comes back
    assert layer.statistics.mean == pytest.approx(2.1)
    assert layer.weight_mask.tolist() == [[False, False, False], [True, False, True]]
    assert layer.bias_mask.tolist() == [False, True]
    assert top.tolist() == [[0, -9], [0, -5], [0, 1]]
    assert layer.weight[0].tolist() == pytest.approx([1, -2, 3.1])  # dense values stay
    assert layer.compression() == (3, 8)


def test_statistics_are_taken_once():
    layer = inner_product()
    layer(torch.eye(3))
    before = layer.statistics
    layer.weight.data *= 3
    layer(torch.eye(3))
    assert layer.statistics == before


def test_gradients():
    layer = inner_product("iter_stop: -1")
    cut(layer, (0, 1), (1, 0))
    bottom = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    layer(bottom).sum().backward()
    assert layer.weight.grad.tolist() == [[1, 2, 3], [1, 2, 3]]  # whole, cut entries too
    assert layer.bias.grad.tolist() == [1, 1]
    assert bottom.grad.tolist() == [[1, 0.5, 9]]  # of effective weights


@pytest.mark.parametrize("more", ["", "transpose: true"])
def test_gradient_check_in_float64(more):
    text = f"inner_product_param {{ num_output: 2 {more} }} dns_inner_product_param {{ iter_stop: -1 }}"
    layer = single_layer("DNSInnerProduct", text, (4, 3)).double()
    layer.weight_mask.view(-1)[::2] = False
    layer.bias_mask[0] = False
    mask, bias_mask = layer.weight_mask, layer.bias_mask

    def run(bottom, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (bottom,))

    inputs = [torch.randn(4, 3), torch.randn(layer.weight.shape) * mask, torch.randn(2) * bias_mask]
    inputs = [value.double().requires_grad_() for value in inputs]
    top = run(*inputs)
    given = torch.randn_like(top)
    expected = torch.autograd.grad(
        torch.nn.functional.linear(inputs[0], inputs[1].t() if more else inputs[1], inputs[2]), inputs, given
    )
    # inputs are masked already: the gradients are those of the effective values
    for found, wanted in zip(torch.autograd.grad(top, inputs, given), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    torch.autograd.gradcheck(lambda bottom: run(bottom, *inputs[1:]), inputs[0])


def test_test_phase_leaves_masks():
    layer = inner_product(phase=schema.TEST)
    cut(layer, (1, 2))
    layer.draw = lambda: pytest.fail("drew a number")
    assert layer(torch.eye(3))[2].tolist() == pytest.approx([3.1, -5])
    assert layer.compression() == (7, 8)
    assert layer.statistics is None


@pytest.mark.parametrize(("iter_stop", "kept"), [("iter_stop: 5", 8), ("iter_stop: 6", 4), ("iter_stop: -1", 8)])
def test_iter_stop(iter_stop, kept):
    layer = inner_product(f"gamma: 0 c_rate: 0 {iter_stop}")
    layer.iteration = 5
    layer(torch.eye(3))
    assert layer.compression() == (kept, 8)


def test_one_draw_a_forward_decides():
    layer = inner_product("gamma: 1 power: 1 c_rate: 0")
    layer.iteration = 1
    numbers = iter([0.6, 0.5, 0.4])
    layer.draw = numbers.__next__
    kept = []
    for _ in range(3):
        layer(torch.eye(3))
        kept.append(layer.compression().marked)
    assert kept == [8, 8, 4]
    assert not list(numbers)


def test_resume_goes_on_with_the_same_statistics():
    layer = inner_product("gamma: 0 c_rate: 0")
    layer(torch.eye(3))
    state = json.loads(json.dumps(layer.state()))
    resumed = inner_product("gamma: 0 c_rate: 0")
    resumed.load_state_dict(layer.state_dict())
    resumed.restore(state)
    assert resumed.statistics == layer.statistics
    resumed(torch.eye(3))
    assert torch.equal(resumed.weight_mask, layer.weight_mask)
    resumed.restore({})
    assert resumed.statistics is None


def test_halves_of_a_batch_add_up_to_the_whole():
    torch.manual_seed(0)
    batch = torch.randn(8, 3)
    whole, halves = inner_product("iter_stop: -1"), inner_product("iter_stop: -1")
    for layer in (whole, halves):
        cut(layer, (0, 1), (1, 2))
    whole(batch).square().sum().backward()
    for half in batch.split(4):
        halves(half).square().sum().backward()
    torch.testing.assert_close(halves.weight.grad, whole.weight.grad)


def test_two_forwards_before_their_backwards():
    layer = inner_product("iter_stop: -1")
    bottom = torch.ones(1, 3, requires_grad=True)
    first = layer(bottom).sum()
    layer.weight.data += 1
    second = layer(bottom).sum()
    second.backward()
    after = bottom.grad.clone()
    bottom.grad = None
    first.backward()
    assert after.tolist() == [[-1, 0.5, 11]]
    assert bottom.grad.tolist() == [[-3, -1.5, 9]]


@pytest.mark.parametrize("bias", [True, False])
def test_memory_is_used_again(bias):
    layer = inner_product("iter_stop: -1", more=f"bias_term: {str(bias).lower()}")
    places = set()
    for _ in range(4):
        weight, _ = layer.effective()
        places.add(weight.data_ptr())
        (weight.sum()).backward()
        del weight
    with torch.no_grad():
        places.add(layer.effective()[0].data_ptr())
    assert len(places) == 1


def test_log_line(caplog):
    with caplog.at_level(logging.INFO, "demitasse.caffe"):
        layer = inner_product()
        layer.bias.data[0] = 0
        layer(torch.eye(3))
    (record,) = [r for r in caplog.records if "mu_" in r.message]
    assert record.caffe == "dns_inner_product_layer.cpp:165"
    magnitudes = torch.tensor([1, 2, 3, 4, 0.5, 6, 5])
    mean, deviation = magnitudes.mean(), magnitudes.std(correction=0)
    assert record.message == f"mu_:{mean:g} std_:{deviation:g} 6/6(1) 1/2(0.5) 7/8(0.875)"


def test_channels_last_decides_alike():
    text = "convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: 'gaussian' std: 1 } }"
    text += "dns_convolution_param { gamma: 0 c_rate: 0.5 }"
    images, tops, masks = torch.randn(2, 3, 5, 5), [], []
    for arrange in (lambda net: net, lambda net: net.channels_last()):
        torch.manual_seed(0)
        net = arrange(single_net("DNSConvolution", text, (2, 3, 5, 5)))
        tops.append(net({"b0": images})["t0"])
        masks.append(net.layer("l").weight_mask)
    torch.testing.assert_close(*tops)
    assert torch.equal(*masks)
    assert 0 < masks[0].count_nonzero() < masks[0].numel()


def test_a_weight_that_is_not_a_number_shows_in_the_top():
    layer = inner_product()
    layer(torch.eye(3))
    layer.weight.data[0, 0] = math.nan
    assert layer(torch.eye(3)).isnan().any()
