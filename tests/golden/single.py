"""Nets of one layer, for tests of layers."""

from __future__ import annotations

from demitasse.caffe import schema
from demitasse.caffe.layers import Layer
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt


def single_net(kind: str, settings: str, *shapes: tuple[int, ...], tops: int = 1, phase: int = schema.TRAIN) -> Net:
    """Builds a net of one layer ``l`` with bottoms ``b0``... of these shapes and tops ``t0``..."""
    inputs = "".join(
        f'input: "b{i}" input_shape {{ {" ".join(f"dim: {size}" for size in shape)} }}\n'
        for i, shape in enumerate(shapes)
    )
    bottoms = " ".join(f'bottom: "b{i}"' for i in range(len(shapes)))
    names = " ".join(f'top: "t{i}"' for i in range(tops))
    text = f'{inputs} layer {{ name: "l" type: "{kind}" {bottoms} {names} {settings} }}'
    return Net(prototxt.parse(text, schema.NetParameter(), "net"), phase)


def single_layer(kind: str, settings: str, *shapes: tuple[int, ...], tops: int = 1, phase: int = schema.TRAIN) -> Layer:
    """Builds one layer for bottoms of these shapes."""
    return single_net(kind, settings, *shapes, tops=tops, phase=phase).layer("l")
