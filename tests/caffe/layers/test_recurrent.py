"""LSTM and RNN: torch's own as oracle, the state from one forward to the next, and what a snapshot keeps of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from demitasse.caffe import schema
from demitasse.caffe.text import prototxt
from demitasse.caffe.training.solver import Solver
from demitasse.errors import NetError, SnapshotError
from tests.golden.single import single_layer

STEPS, STREAMS, INPUTS, UNITS = 5, 3, 4, 6
SHAPES = ((STEPS, STREAMS, INPUTS), (STEPS, STREAMS))


def recurrent(kind: str, settings: str = "", shapes=SHAPES, tops: int = 1):
    torch.manual_seed(0)
    fillers = 'weight_filler { type: "gaussian" } bias_filler { type: "gaussian" }'
    return single_layer(kind, f"recurrent_param {{ num_output: {UNITS} {fillers} {settings} }}", *shapes, tops=tops)


def sequences() -> torch.Tensor:
    return torch.randn(STEPS, STREAMS, INPUTS, generator=torch.Generator().manual_seed(1))


def test_lstm_is_torchs_with_the_gates_in_another_order():
    layer, theirs = recurrent("LSTM"), nn.LSTM(INPUTS, UNITS)
    # torch has input, forget, cell, output
    order = [0, 1, 3, 2]
    with torch.no_grad():
        for ours, name in (
            (layer.weight, "weight_ih_l0"),
            (layer.hidden_weight, "weight_hh_l0"),
            (layer.bias, "bias_ih_l0"),
        ):
            parts = ours.chunk(4)
            getattr(theirs, name).copy_(torch.cat([parts[index] for index in order]))
        theirs.bias_hh_l0.zero_()
    expected, (hidden, cell) = theirs(sequences())
    torch.testing.assert_close(layer(sequences(), torch.ones(STEPS, STREAMS)), expected)
    torch.testing.assert_close(layer.hidden, hidden[0])
    torch.testing.assert_close(layer.cell, cell[0])


def test_rnn_is_torchs_with_a_layer_behind():
    layer, theirs = recurrent("RNN"), nn.RNN(INPUTS, UNITS)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(layer.weight)
        theirs.weight_hh_l0.copy_(layer.hidden_weight)
        theirs.bias_ih_l0.copy_(layer.bias)
        theirs.bias_hh_l0.zero_()
    hidden, _ = theirs(sequences())
    expected = torch.tanh(hidden @ layer.output_weight.T + layer.output_bias)
    torch.testing.assert_close(layer(sequences(), torch.ones(STEPS, STREAMS)), expected)


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_two_forwards_are_one_of_both_lengths(kind):
    x, going_on = sequences(), torch.ones(STEPS, STREAMS)
    going_on[3, 1] = 0
    whole = recurrent(kind)(x, going_on)
    layer = recurrent(kind)
    parts = [layer(x[:2], going_on[:2]), layer(x[2:], going_on[2:])]
    torch.testing.assert_close(torch.cat(parts), whole)
    # a sequence that begins forgets: the same as in a layer that has seen nothing
    fresh = recurrent(kind)
    torch.testing.assert_close(fresh(x[3:], going_on[3:])[:, 1], whole[3:, 1])


def test_the_gradient_ends_where_the_forward_began():
    layer = recurrent("LSTM")
    x = sequences().requires_grad_()
    layer(x, torch.ones(STEPS, STREAMS))
    assert not layer.hidden.requires_grad
    layer(sequences(), torch.ones(STEPS, STREAMS)).sum().backward()
    assert x.grad is None


def test_other_numbers_of_streams_start_from_zeros():
    layer = recurrent("LSTM")
    layer(sequences(), torch.ones(STEPS, STREAMS))
    found = layer(sequences()[:, :2], torch.ones(STEPS, 2))
    torch.testing.assert_close(found, recurrent("LSTM")(sequences(), torch.ones(STEPS, STREAMS))[:, :2])


def test_building_a_net_leaves_no_state():
    assert not recurrent("LSTM").hidden.any()


def test_exposed_state_is_not_carried_on():
    shapes = (*SHAPES, (1, STREAMS, UNITS), (1, STREAMS, UNITS))
    layer = recurrent("LSTM", "expose_hidden: true", shapes, 3)
    zeros = torch.zeros(1, STREAMS, UNITS)
    first = layer(sequences(), torch.ones(STEPS, STREAMS), zeros, zeros)
    again = layer(sequences(), torch.ones(STEPS, STREAMS), zeros, zeros)
    assert torch.equal(first[0], again[0])
    assert layer.state() == {}
    plain = recurrent("LSTM")
    plain(sequences(), torch.ones(STEPS, STREAMS))
    assert torch.equal(plain(sequences(), torch.ones(STEPS, STREAMS)),
                       layer(sequences(), torch.ones(STEPS, STREAMS), *first[1:])[0])  # fmt: skip


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_a_resumed_run_is_the_unbroken_one(kind, tmp_path):
    net = f"""
        layer {{ name: "data" type: "DummyData" top: "x" top: "cont" top: "y" dummy_data_param {{
          shape {{ dim: 4 dim: 2 dim: 3 }} shape {{ dim: 4 dim: 2 }} shape {{ dim: 4 dim: 2 dim: 5 }}
          data_filler {{ type: "gaussian" }} data_filler {{ value: 1 }} data_filler {{ type: "uniform" }} }} }}
        layer {{ name: "l" type: "{kind}" bottom: "x" bottom: "cont" top: "h"
          recurrent_param {{ num_output: 5 weight_filler {{ type: "xavier" }} }} }}
        layer {{ name: "loss" type: "EuclideanLoss" bottom: "h" bottom: "y" }}"""
    text = f"""base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 max_iter: 9 random_seed: 3 solver_mode: CPU
        snapshot_prefix: "{tmp_path}/snap" net_param {{ {net} }}"""
    param = prototxt.parse(text, schema.SolverParameter(), "solver")
    unbroken = Solver(param)
    unbroken.step(3)
    state = unbroken.snapshot()
    unbroken.step(3)
    resumed = Solver(param)
    resumed.step(1)
    resumed.restore(state)
    assert resumed.net.layer("l").hidden.any()
    resumed.step(3)
    for ours, theirs in zip(resumed.net.layer("l").blobs(), unbroken.net.layer("l").blobs(), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(resumed.net.layer("l").hidden, unbroken.net.layer("l").hidden)


def test_states_that_are_broken_are_told():
    layer = recurrent("LSTM")
    layer(sequences(), torch.ones(STEPS, STREAMS))
    good = layer.state()
    hidden = layer.hidden
    layer.restore({})
    assert not layer.hidden.any()
    layer.restore(good)
    assert torch.equal(layer.hidden, hidden)
    for broken, message in (
        ({"hidden": good["hidden"]}, r"layer 'l': the state of 'cell' is corrupt: 'cell'"),
        ({**good, "hidden": {"shape": [2, 6], "data": good["hidden"]["data"]}}, r"'hidden' is corrupt: cannot reshape"),
        ({**good, "cell": 7}, r"'cell' is corrupt: 'int' object"),
        ({**good, "cell": {"shape": [6, 3], "data": good["cell"]["data"]}},
         r"has shape \[6, 3\]; expected \(streams, 6\)"),
    ):  # fmt: skip
        with pytest.raises(SnapshotError, match=message):
            layer.restore(broken)


EXPOSED = (1, STREAMS, UNITS)
FAULTY = [
    ("LSTM", UNITS, ((STEPS,), (STEPS,)), 1, r"LSTM takes \(steps, streams, \.\.\.\), found a bottom of shape \[5\]"),
    ("LSTM", UNITS, ((STEPS, STREAMS, 2), (STEPS,)), 1, r"bottom 'b1' of LSTM has shape \[5\], expected \[5, 3\]"),
    ("RNN", UNITS, (*SHAPES, (2, 4)), 1, r"the static bottom 'b2' has shape \[2, 4\]; expected 3 streams on axis 0"),
    ("LSTM", f"{UNITS} expose_hidden: true", (*SHAPES, EXPOSED), 3, r"LSTM takes 4 to 5 bottoms, found 3"),
    ("LSTM", f"{UNITS} expose_hidden: true", (*SHAPES, EXPOSED, EXPOSED), 1, r"LSTM takes 3 tops, found 1"),
    ("RNN", f"{UNITS} expose_hidden: true", (*SHAPES, EXPOSED), 1, r"RNN takes 2 tops, found 1"),
    ("LSTM", f"{UNITS} expose_hidden: true", (*SHAPES, EXPOSED, (1, 3, 7)), 3,
     r"bottom 'b3' of LSTM has shape \[1, 3, 7\], expected \[1, 3, 6\]"),
    ("RNN", 0, SHAPES, 1, r"num_output is 0; expected a positive number"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "settings", "shapes", "tops", "message"), FAULTY)
def test_faulty_layers_are_told(kind, settings, shapes, tops, message):
    with pytest.raises(NetError, match=message):
        single_layer(kind, f"recurrent_param {{ num_output: {settings} }}", *shapes, tops=tops)
