"""Layers under quantization: when they freeze, what stays free, what a resume needs."""

from __future__ import annotations

import json
import logging

import pytest
import torch

from demitasse.caffe import schema
from demitasse.errors import MethodError
from demitasse.methods import pow2
from tests.golden.single import single_layer

BOTTOM = (2, 3, 4, 4)


def inq(portions=(0, 0.5), kind="Convolution", more="", phase=schema.TRAIN, levels=7):
    """A layer of 4 outputs with random values."""
    field = {"Convolution": "convolution", "InnerProduct": "inner_product"}[kind]
    size = "kernel_size: 2" if kind == "Convolution" else ""
    filler = 'weight_filler { type: "gaussian" std: 0.3 } bias_filler { type: "gaussian" std: 0.1 }'
    listed = " ".join(f"portion: {portion}" for portion in portions)
    torch.manual_seed(0)
    return single_layer(
        f"INQ{kind}",
        f"{field}_param {{ num_output: 4 {size} {filler} {more} }}"
        f"inq_{field}_param {{ {listed} num_quantum_values: {levels} }}",
        BOTTOM,
        phase=phase,
    )


@pytest.mark.parametrize("kind", ["Convolution", "InnerProduct"])
@pytest.mark.parametrize("more", ["", "bias_term: false"])
def test_first_training_forward_freezes_the_largest(kind, more):
    layer = inq(kind=kind, more=more)
    before = {name: values.detach().clone() for name, (values, _) in layer.masked().items()}
    bottom = torch.ones(BOTTOM)
    layer(bottom)
    assert layer.free_masks().keys() == before.keys()
    for name, free in layer.free_masks().items():
        values = getattr(layer, name).detach()
        assert int(free.count_nonzero()) == values.numel() // 2
        assert torch.equal(values[free], before[name][free])
        assert pow2.on_grid(values[~free]).all()
        assert before[name][~free].abs().min() > before[name][free].abs().max()
    total = sum(values.numel() for values in before.values())
    assert layer.compression() == (total // 2, total)
    once = layer.weight.detach().clone()
    layer(bottom)
    assert torch.equal(layer.weight, once)


def test_transpose_freezes_alike():
    plain, turned = inq(kind="InnerProduct"), inq(kind="InnerProduct", more="transpose: true")
    with torch.no_grad():
        turned.weight.copy_(plain.weight.t())
        turned.bias.copy_(plain.bias)
    bottom = torch.randn(BOTTOM)
    torch.testing.assert_close(turned(bottom), plain(bottom))
    assert torch.equal(turned.weight_mask, plain.weight_mask.t())


def test_everything_frozen_with_all_zero_bias(caplog):
    layer = inq((0, 1))
    layer.bias.data.zero_()
    with caplog.at_level(logging.INFO, "demitasse.caffe"):
        layer(torch.ones(BOTTOM))
    assert not layer.weight_mask.any()
    assert layer.weight.detach().abs().unique().numel() <= 8
    assert not layer.bias.any()
    assert "l (INQConvolution): all of bias is zero" in caplog.messages


def test_test_phase_changes_nothing():
    layer = inq(phase=schema.TEST)
    before = layer.weight.detach().clone()
    layer(torch.ones(BOTTOM))
    assert torch.equal(layer.weight, before)
    assert layer.weight_mask.all()


@pytest.mark.parametrize(
    ("portions", "message"),
    [((), "portion is missing"), ((0.6, 0.3), "portion decreases"), ((2,), "portion is 2")],
)
def test_portions_without_meaning_name_the_layer(portions, message):
    with pytest.raises(MethodError, match=rf"layer 'l' \(net\): {message}"):
        inq(portions)


def test_clipping_is_said(caplog):
    layer = inq((0, 0.5))
    layer(torch.ones(BOTTOM))
    top = float(layer.weight.detach().abs().max())
    free = layer.weight_mask.nonzero()[0].tolist()
    layer.weight.data[tuple(free)] = 8 * top
    layer.step, layer.applied = layer.step._replace(before=0.5, after=0.8), False
    with caplog.at_level(logging.INFO, "demitasse.caffe"):
        layer(torch.ones(BOTTOM))
    assert layer.weight[tuple(free)].item() == top
    assert any("clipped 1 values of weight" in message for message in caplog.messages)


def test_resume_by_stage():
    layer = inq((0.3, 0.6))
    assert layer.state() == {"stage": None}
    layer(torch.ones(BOTTOM))
    state = json.loads(json.dumps(layer.state()))
    same, following = inq((0.3, 0.6)), inq((0.6, 1))
    same.restore(state)
    following.restore(state)
    assert (same.applied, following.applied) == (True, False)
    same.restore({"stage": None})
    assert not same.applied


@pytest.mark.parametrize(("portions", "applied"), [((0.2, 0.5), True), ((0.5, 0.8), False), ((0, 0.4), True)])
def test_resume_by_masks(portions, applied):
    layer = inq((0, 0.5))
    layer(torch.ones(BOTTOM))
    resumed = inq(portions)
    resumed.load_state_dict(layer.state_dict())
    resumed.restore({})
    assert resumed.applied is applied


def test_masks_of_surgery_count_as_pruned():
    layer = inq((0, 0.5))
    layer.weight_mask[:2] = False
    layer.weight.data[:2] = 0
    layer(torch.ones(BOTTOM))
    assert not layer.weight[:2].any()
    assert int(layer.weight_mask.count_nonzero()) == layer.weight.numel() // 4
    resumed = inq((0, 0.5))
    resumed.load_state_dict(layer.state_dict())
    resumed.restore({})
    assert resumed.applied


def test_log_lines(caplog):
    with caplog.at_level(logging.INFO, "demitasse.caffe"):
        inq((0, 0.5), more="bias_term: false")(torch.ones(BOTTOM))
    assert caplog.messages[-5:] == [
        "l (INQConvolution):  Shaping the weights...",
        "Max_power = -1",
        "Min_power = -7",
        "portions: 0% -> 50% (total: 0% -> 50%)",
        "to_update/not_tobe_quantized/not_yet_quantized: 24/24/48",
    ]


@pytest.mark.parametrize("levels", [278, 2**32 - 1])
def test_more_powers_than_float32_has_are_refused(levels):
    with pytest.raises(MethodError, match=f"num_quantum_values: a grid of {levels} powers of two is beyond float32"):
        inq(levels=levels)
