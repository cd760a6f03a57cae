"""C3D's layers for videos, in the form of both versions."""

from __future__ import annotations

import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.errors import DemitasseError

SHAPE = (2, 4, 5, 6, 7)
INPUT = 'input: "x" input_dim: 2 input_dim: 4 input_dim: 5 input_dim: 6 input_dim: 7\n'
FILLED = 'weight_filler { type: "gaussian" } bias_filler { value: 1 }'
TIMES = f"kernel_depth: 2 kernel_size: 3 temporal_stride: 2 temporal_pad: 1 stride: 1 pad: 0 {FILLED}"
AXES = f"kernel_size: [2, 3, 3] stride: [2, 1, 1] pad: [1, 0, 0] {FILLED}"
POOL = "pool: AVE kernel_depth: 2 kernel_size: 3 stride: 2 pad: 1"


def outcome(text: str) -> torch.Tensor:
    torch.manual_seed(0)
    net = Net(prototxt.parse(INPUT + text, schema.NetParameter(), "net"))
    return net({"x": torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))})["t"]


def layer(kind: str, settings: str) -> str:
    return f'layer {{ name: "l" type: "{kind}" bottom: "x" top: "t" {settings} }}'


def v1(kind: str, settings: str) -> str:
    return f'layers {{ name: "l" type: {kind} bottom: "x" top: "t" {settings} }}'


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_time_becomes_an_axis(kind):
    count = "num_output: 6 group: 2"
    expected = outcome(layer(kind, f"convolution_param {{ {count} {AXES} }}"))
    assert torch.equal(outcome(layer(f"{kind}3D", f"convolution3d_param {{ {count} {TIMES} }}")), expected)
    assert torch.equal(outcome(v1(f"{kind.upper()}3D", f"convolution_param {{ {count} {TIMES} }}")), expected)


def test_without_strides_pads_and_bias():
    given = "num_output: 2 bias_term: false kernel_depth: 3 kernel_size: 2 filter_group: 2"
    expected = outcome(
        layer("Convolution", "convolution_param { num_output: 2 bias_term: false kernel_size: [3, 2, 2] }")
    )
    assert (
        outcome(layer("Convolution3D", f"convolution3d_param {{ {given} }}")).shape == expected.shape == (2, 2, 3, 5, 6)
    )
    assert outcome(v1("CONVOLUTION3D", f"convolution_param {{ {given} }}")).shape == expected.shape


def test_the_first_versions_pooling():
    expected = outcome(layer("Pooling3D", f"pooling3d_param {{ {POOL} }}"))
    assert torch.equal(outcome(v1("POOLING3D", f"pooling_param {{ {POOL} }}")), expected)
    assert torch.equal(outcome(layer("Pooling3D", f"pooling_param {{ {POOL} }}")), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            layer("Convolution", "convolution_param { num_output: 2 kernel_size: 1 kernel_depth: 1 }"),
            "has kernel_depth, w",
        ),
        (layer("Pooling", "pooling_param { kernel_size: 1 temporal_stride: 1 }"), "Pooling has temporal_stride, which"),
        (
            layer("Convolution3D", "convolution_param { num_output: 2 kernel_h: 1 }"),
            "Convolution3D has kernel_h, which",
        ),
        (
            layer("Convolution3D", "convolution_param { kernel_depth: 1 kernel_size: [1, 2] }"),
            "2 values of kernel_size",
        ),
        (layer("Pooling3D", "pooling_param { global_pooling: true }"), "Pooling3D has global_pooling, which"),
        (layer("Pooling3D", "pooling_param { kernel_size: 1 } pooling3d_param { kernel_size: 1 }"), "two messages"),
        (layer("Convolution3D", "convolution_param { } convolution3d_param { }"), "two messages of settings"),
        (layer("Convolution3D", "convolution3d_param { num_output: 2 kernel_size: 1 }"), "expected positive numbers"),
    ],
)
def test_refused(text, message):
    with pytest.raises(DemitasseError, match=rf"'l'.*{message}"):
        outcome(text)
