"""Layers that Intel's fork and Caffe for OpenCL merge into the layer before them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.images.transform import ImageTransform
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.errors import NetError, PrototxtError
from tests.golden.single import single_net

CONVOLUTION = "convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: 'gaussian' } %s }"
IMAGE = (2, 4, 6, 5)


def net(text: str, phase: int = schema.TEST) -> Net:
    given = 'input: "x" input_shape { dim: 2 dim: 4 dim: 6 dim: 5 }'
    return Net(prototxt.parse(given + text, schema.NetParameter(), "net"), phase)


def outcome(text: str) -> torch.Tensor:
    torch.manual_seed(0)
    built = net(text)
    for layer in built.named_layers().values():
        for name in layer.blob_names:
            layer.write_blob(name, torch.rand(getattr(layer, name).shape) + 0.5)
    found = built({"x": torch.randn(IMAGE, generator=torch.Generator().manual_seed(1))})
    assert list(found) == ["t"]
    return found["t"]


def layer(kind: str, settings: str = "", bottom: str = "x", top: str = "t") -> str:
    bottoms = " ".join(f'bottom: "{name}"' for name in bottom.split())
    return f'layer {{ name: "{top}{kind}" type: "{kind}" {bottoms} top: "{top}" {settings} }}\n'


def relu(slope: float, top: str = "t") -> str:
    return layer("ReLU", f"relu_param {{ negative_slope: {slope} }}", top, top)


MERGED = [
    (layer("Convolution", CONVOLUTION % "relu: true"), layer("Convolution", CONVOLUTION % "") + relu(0)),
    (
        layer("Convolution", CONVOLUTION % "relu: true negative_slope: 0.5"),
        layer("Convolution", CONVOLUTION % "") + relu(0.5),
    ),
    (
        layer("Convolution", CONVOLUTION % "fuse_type: FUSED_CONV_RELU relu_param { negative_slope: 0.25 }"),
        layer("Convolution", CONVOLUTION % "") + relu(0.25),
    ),
    (
        layer("Convolution", CONVOLUTION % "fuse_type: FUSED_CONV_ELTWISE_RELU eltwise_param { coeff: [1, 3] }", "x x"),
        layer("Convolution", CONVOLUTION % "", top="c")
        + layer("Eltwise", "eltwise_param { coeff: [1, 3] }", "c x")
        + relu(0),
    ),
    (layer("Convolution", CONVOLUTION % "fuse_type: UNFUSED relu: false"), layer("Convolution", CONVOLUTION % "")),
    (layer("BatchNorm", "batch_norm_param { relu: true }"), layer("BatchNorm") + relu(0)),
    (layer("BatchNorm", "batch_norm_param { relu: false }"), layer("BatchNorm")),
    (
        layer("LRN", "lrn_param { fuse_type: FUSED_POOL_MAX pooling_param { kernel_size: 3 stride: 2 } }"),
        layer("LRN", top="n") + layer("Pooling", "pooling_param { kernel_size: 3 stride: 2 }", "n"),
    ),
]


@pytest.mark.parametrize(("merged", "apart"), MERGED)
def test_merged_layers_compute_what_they_do_apart(merged: str, apart: str) -> None:
    assert torch.equal(outcome(merged), outcome(apart))


def test_what_is_merged_becomes_a_layer_of_the_same_nets() -> None:
    spec = prototxt.parse(
        'input: "x" input_shape { dim: 2 dim: 4 dim: 6 dim: 5 }'
        + layer("Convolution", CONVOLUTION % "relu: true" + " include { phase: TRAIN }"),
        schema.NetParameter(),
        "net",
    )
    assert [each.type for each in Net(spec, schema.TRAIN).spec.layer] == ["Input", "Convolution", "ReLU"]
    assert [each.type for each in Net(spec, schema.TEST).spec.layer] == ["Input"]


def test_the_layers_after_an_added_one_keep_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    first = layer("Convolution", CONVOLUTION % "relu: true", top="c")
    path.write_text('input: "x" input_shape { dim: 2 dim: 4 dim: 6 dim: 5 }\n' + first + layer("ReLU", "", "d"))
    with pytest.raises(NetError, match=r"layer 'tReLU' \(.*net.prototxt:3\): bottom 'd' does not exist"):
        Net.from_file(path)
    path.write_text(
        'input: "x" input_shape { dim: 2 dim: 4 dim: 6 dim: 5 }\n' + first.replace("relu: true", "negative_slope: 1")
    )
    with pytest.raises(
        NetError, match=r"net.prototxt:2: layer 'cConvolution': found negative_slope 1; expected it only"
    ):
        Net.from_file(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layer("Convolution", CONVOLUTION % "relu: true fuse_type: FUSED_CONV_RELU"), "both relu and fuse_type"),
        (layer("Convolution", CONVOLUTION % "relu_param { }"), "relu_param; expected it only with a fuse_type"),
        (layer("Convolution", CONVOLUTION % "eltwise_param { }"), "only with FUSED_CONV_ELTWISE_RELU"),
        (layer("Convolution", CONVOLUTION % "fuse_type: FUSED_CONV_ELTWISE_RELU"), "found 1 bottoms and 1 tops"),
        (layer("LRN", "lrn_param { pooling_param { kernel_size: 2 } }"), "only with it"),
        (layer("LRN", "lrn_param { fuse_type: FUSED_POOL_MAX }"), "expected pooling_param"),
    ],
)
def test_half_of_a_merged_layer_is_told(text: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        net(text)


def test_what_else_opencl_merges_is_refused() -> None:
    with pytest.raises(PrototxtError, match="has no value 'FUSED_CONV_MAX_POOLING_RELU'"):
        net(layer("Convolution", CONVOLUTION % "fuse_type: FUSED_CONV_MAX_POOLING_RELU"))


def test_statistics_of_parts_of_a_batch_are_refused_where_they_matter() -> None:
    text = " bn_stats_batch_size: 1 " + layer("BatchNorm")
    assert torch.equal(outcome(text), outcome(layer("BatchNorm")))
    with pytest.raises(NetError, match="stats_batch_size is 1 for a batch of 2; expected the whole batch"):
        net(text, schema.TRAIN)
    assert net(text.replace("size: 1", "size: 2"), schema.TRAIN).shapes["t"] == IMAGE
    own = layer("BatchNorm", "batch_norm_param { stats_batch_size: 2 }")
    assert net(" bn_stats_batch_size: 1 " + own, schema.TRAIN).shapes["t"] == IMAGE


@pytest.mark.parametrize("field", ["random_resize_param", "random_aspect_ratio_param"])
def test_augmentations_of_intel_are_refused(field: str) -> None:
    param = prototxt.parse(f"{field} {{ }}", schema.TransformationParameter(), "net")
    with pytest.raises(NetError, match=f"transform_param has {field}, which only Intel's fork takes"):
        ImageTransform(param, schema.TRAIN)


def test_shuffled_records_are_refused() -> None:
    with pytest.raises(NetError, match=r"data_param has shuffle, .*convert_imageset"):
        single_net("Data", "data_param { source: 'none' batch_size: 1 shuffle: true }", tops=2)
