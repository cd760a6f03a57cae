"""Eltwise MAX: who gets the gradient where bottoms are equal; and of the windows of Pooling and SPP."""

from __future__ import annotations

import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt


def gradients(rows: list[list[float]]) -> list[list[float]]:
    """Returns the gradient of the sum of the maximum for each bottom."""
    names = [f"x{index}" for index in range(len(rows))]
    inputs = "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ dim: {len(rows[0])} }} }} }}\n'
        for name in names
    )
    bottoms = " ".join(f'bottom: "{name}"' for name in names)
    layer = f'layer {{ name: "max" type: "Eltwise" {bottoms} top: "max" eltwise_param {{ operation: MAX }} }}'
    net = Net(prototxt.parse(f"force_backward: true {inputs}{layer}", schema.NetParameter(), "net"))
    batch = {name: torch.tensor(row) for name, row in zip(names, rows, strict=True)}
    net(batch)["max"].sum().backward()
    return [batch[name].grad.tolist() for name in names]


def test_a_tie_of_the_first_two_goes_to_the_second() -> None:
    assert gradients([[1.0, 2.0, 0.0], [1.0, 1.0, 3.0]]) == [[0, 1, 0], [1, 0, 1]]


def test_a_further_bottom_gets_the_gradient_only_where_it_is_larger() -> None:
    rows = [[1.0, 1.0, 2.0, 0.0, 0.0], [1.0, 0.0, 2.0, 2.0, 0.0], [1.0, 1.0, 3.0, 2.0, 0.0], [1.0, 1.0, 3.0, 2.0, 1.0]]
    assert gradients(rows) == [[0, 1, 0, 0, 0], [1, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 1]]


@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize("last", [False, True])
def test_a_tie_in_a_window_goes_to_the_first_entry(pad: int, last: bool) -> None:
    text = f"""force_backward: true input: "x" input_shape {{ dim: 1 dim: 2 dim: 4 dim: 4 }}
      layer {{ name: "p" type: "Pooling" bottom: "x" top: "p"
        pooling_param {{ kernel_size: 4 stride: 4 pad: {pad} round_mode: FLOOR }} }}"""
    net = Net(prototxt.parse(text, schema.NetParameter(), "net"))
    net = net.channels_last() if last else net
    data = torch.zeros(1, 2, 4, 4, requires_grad=True)
    net({"x": data})["p"].sum().backward()
    assert data.grad is not None
    assert data.grad[0, 0].flatten().nonzero().flatten().tolist() == [0]


def test_a_tie_in_a_part_of_the_pyramid_goes_to_the_first_entry() -> None:
    text = """force_backward: true input: "x" input_shape { dim: 1 dim: 1 dim: 4 dim: 4 }
      layer { name: "p" type: "SPP" bottom: "x" top: "p" spp_param { pyramid_height: 2 } }"""
    net = Net(prototxt.parse(text, schema.NetParameter(), "net"))
    batch = {"x": torch.zeros(1, 1, 4, 4)}
    net(batch)["p"].sum().backward()
    assert batch["x"].grad[0, 0].tolist() == [[2, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
