"""Logs a net in Caffe's lines: its structure, and the values of its outputs."""

from __future__ import annotations

import math

from demitasse.caffe.log import info, number, shown
from demitasse.caffe.net import Net


def describe(net: Net) -> None:
    """Logs the structure of a net, layer by layer, as Caffe does while it builds one."""
    info("net.cpp:51", f"Initializing net from parameters: \n{net.spec}")
    memory = 0
    for spec in net.spec.layer:
        info("net.cpp:84", f"Creating Layer {spec.name}")
        for bottom in spec.bottom:
            info("net.cpp:413", f"{spec.name} <- {bottom}")
        for top in spec.top:
            in_place = " (in-place)" if top in spec.bottom else ""
            info("net.cpp:387", f"{spec.name} -> {shown(top)}{in_place}")
        info("net.cpp:127", f"Setting up {spec.name}")
        for top in spec.top:
            shape = net.shapes[top]
            count = math.prod(shape)
            info("net.cpp:136", f"Top shape: {''.join(f'{size} ' for size in shape)}({count})")
            memory += 4 * count
            if top in net.losses:
                info("net.cpp:139", f"    with loss weight {number(net.losses[top])}")
        info("net.cpp:144", f"Memory required for data: {memory}")
    for name in net.outputs:
        info("net.cpp:249", f"This network produces output {name}")
    info("net.cpp:262", "Network initialization done.")


def output_lines(place: str, prefix: str, net: Net, values: dict[str, list[float]]) -> None:
    """Logs one line for each value of a net's outputs, with its contribution to the loss if it has one."""
    index = 0
    for name in net.outputs:
        for value in values[name]:
            info(place, f"{prefix} #{index}: {name} = {number(value)}{loss_term(net, name, value)}")
            index += 1


def loss_term(net: Net, name: str, value: float) -> str:
    """Returns `` (* weight = value loss)`` for an output that is part of the loss, else an empty text."""
    weight = net.losses.get(name, 0.0)
    return f" (* {number(weight)} = {number(weight * value)} loss)" if weight else ""
