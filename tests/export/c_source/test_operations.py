"""The operations of C, each by itself: the net's numbers in floats, the twin's integers, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demitasse.errors import ExportError
from demitasse.export import c
from tests.export.c_source.compiling import compiled, run, to_powers
from tests.export.nets import build

DATA = 'name: "net" input: "data" input_shape { dim: 2 dim: 4 dim: 7 dim: 6 }'
CONVOLUTION = """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4
  kernel_size: 3 pad: 1 weight_filler { type: "xavier" } bias_filler { type: "gaussian" std: 0.3 } } }"""
PRODUCT = """layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 9
  weight_filler { type: "xavier" } bias_filler { type: "gaussian" std: 0.3 } } }"""


def caffe(*layers: str) -> str:
    return "\n".join([DATA, *layers])


def after(layer: str, bottom: str = "conv") -> str:
    return f'layer {{ name: "last" bottom: "{bottom}" top: "last" {layer} }}'


CAFFE = {
    "grouped": caffe(CONVOLUTION.replace("pad: 1", "pad: 1 group: 2")),
    "depthwise": caffe(CONVOLUTION.replace("pad: 1", "stride: 2 group: 4")),
    "product": caffe(PRODUCT),
    "maximum": caffe(CONVOLUTION, after('type: "Pooling" pooling_param { pool: MAX kernel_size: 3 stride: 2 }')),
    "padded maximum": caffe(
        after('type: "Pooling" pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 }', "data")
    ),
    "mean": caffe(CONVOLUTION, after('type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }')),
    "mean of the input": caffe(after('type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 }', "data")),
    "mean of all": caffe(CONVOLUTION, after('type: "Pooling" pooling_param { pool: AVE global_pooling: true }')),
    "leaky": caffe(CONVOLUTION, after('type: "ReLU" relu_param { negative_slope: 0.3 }')),
    "slopes of the input": caffe(
        after('type: "PReLU" prelu_param { filler { type: "uniform" min: -1 max: 1 } }', "data")
    ),
    "shared slope": caffe(CONVOLUTION, after('type: "PReLU" prelu_param { channel_shared: true }')),
    "clip": caffe(CONVOLUTION, after('type: "Clip" clip_param { min: -0.3 max: 0.6 }')),
    "six": caffe(CONVOLUTION, after('type: "ReLU6"')),
    "sum": caffe(CONVOLUTION, after('type: "Eltwise" bottom: "data" eltwise_param { coeff: 1 coeff: -1 }')),
    "sum with itself": caffe(CONVOLUTION, after('type: "Eltwise" bottom: "conv"')),
    "concatenation": caffe(CONVOLUTION, after('type: "Concat" bottom: "data" bottom: "conv"')),
    "shape": caffe(CONVOLUTION, after('type: "Reshape" reshape_param { shape { dim: 0 dim: -1 } }')),
    "normalization": caffe(
        CONVOLUTION, 'layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }',
        after('type: "Scale" scale_param { bias_term: true filler { type: "uniform" min: 0.5 max: 2 } }', "bn"),
    ),
    "softmax": caffe(PRODUCT, after('type: "Softmax"', "ip")),
    "place": caffe(PRODUCT, after('type: "ArgMax"', "ip")),
    "place on an axis": caffe(PRODUCT, after('type: "ArgMax" argmax_param { axis: 1 }', "ip")),
    "place in planes": caffe(CONVOLUTION, after('type: "ArgMax"')),
    "place after softmax": caffe(
        PRODUCT, 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }', after('type: "ArgMax"', "prob")
    ),
    "flattened": caffe(CONVOLUTION, 'layer { name: "flat" type: "Flatten" bottom: "conv" top: "flat" }',
        after('type: "ReLU"', "flat")),
}  # fmt: skip


def inputs(count: int = 40) -> Tensor:
    return torch.randn(count, 4, 7, 6, generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def powers(net: nn.Module) -> nn.Module:
    """Rounds weights that are no vectors to powers of two; statistics of normalizations become random."""
    for name, layer in net.named_layers().items():
        for blob in layer.blobs():
            if blob.ndim > 1:
                blob.copy_(blob.sign() * 2.0 ** blob.abs().clamp(min=1e-6).log2().round().clamp(-6, 0))
        if name == "bn":
            for blob, low, high in zip(layer.blobs(), (-1.0, 0.5, 1.0), (1.0, 2.0, 1.0), strict=True):
                blob.uniform_(low, high)
    return net.eval()


@pytest.mark.parametrize("name", CAFFE)
def test_an_operation_of_caffe(name, tmp_path):
    torch.manual_seed(3)
    net, x = powers(build(CAFFE[name])), inputs()
    with torch.no_grad():
        (expected,) = (found.flatten(1).double().numpy() for found in net({"data": x}).values())
    report = c(net, None, tmp_path / "net.c", calibration=x.numpy(), bits=16, main=True)
    program = compiled(tmp_path / "net.c")
    assert np.array_equal(run(program, x.numpy()), next(iter(report.twin({"data": x.numpy()}).values())))
    floats = run(program, x.numpy(), "floats")
    if "place" in name:
        assert np.mean(floats == expected) > 0.95
        assert floats.shape == expected.shape == (40, 1)
    else:
        assert np.abs(floats - expected).max() <= 0.003 * np.abs(expected).max()
    c(net, None, tmp_path / "floats.c", arithmetic="float", main=True)
    found = run(compiled(tmp_path / "floats.c", "clang"), x.numpy(), "floats")
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


class Place(nn.Module):
    def __init__(self, keeps: bool) -> None:
        super().__init__()
        self.last, self.keeps = nn.Linear(168, 5), keeps

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(self.last(x.flatten(1)), 1).argmax(1, self.keeps)


@pytest.mark.parametrize("keeps", [False, True])
def test_the_place_of_the_greatest_score(keeps, tmp_path):
    torch.manual_seed(0)
    model, x = to_powers(Place(keeps)), inputs()
    report = c(model, x[:1], tmp_path / "net.c", calibration=x.numpy(), main=True)
    found = run(compiled(tmp_path / "net.c"), x.numpy())
    assert np.array_equal(found, report.twin({"x": x.numpy()})["output"])
    assert np.mean(found[:, 0] == model(x).numpy().reshape(-1)) > 0.95
    assert "uint8_t output_[1]" in (tmp_path / "net.h").read_text()


@pytest.mark.parametrize(("of_caffe", "place"), [(True, 4), (False, 1)])
def test_of_equal_scores_the_place_is_that_of_the_net(of_caffe, place, tmp_path):
    """Caffe takes the last one, PyTorch the first one."""
    text = """input: "x" input_shape { dim: 1 dim: 168 } layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
      inner_product_param { num_output: 5 } } layer { name: "arg" type: "ArgMax" bottom: "ip" top: "arg" }"""
    model = build(text).eval() if of_caffe else Place(False).eval()
    layer = model.named_layers()["ip"] if of_caffe else model.last
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor([0.0, 2, 1, 2, 2]))
    example = None if of_caffe else inputs(1)
    for arithmetic, span in (("int", (-1, 1)), ("float", None)):
        c(model, example, tmp_path / "net.c", arithmetic=arithmetic, range=span, main=True)
        assert run(compiled(tmp_path / "net.c"), inputs(1).numpy()).tolist() == [[place]]


REFUSED = {
    "LRN": (after('type: "LRN"'), "no form in C"),
    "stochastic": (after('type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }'), "method is STOCHASTIC"),
    "empty windows": (
        after('type: "Pooling" pooling_param { pool: AVE kernel_size: 2 stride: 3 }'), "outside of the plane"
    ),
    "product": (after('type: "Eltwise" bottom: "data" eltwise_param { operation: PROD }'), "found PROD"),
    "factors": (after('type: "Eltwise" bottom: "data" eltwise_param { coeff: 1 coeff: 0.5 }'), "factors of 1 and -1"),
    "axis": (after('type: "Concat" bottom: "data" concat_param { axis: 2 }'), "its axis is 2"),
    "planes": (after('type: "Softmax"'), "not of a vector"),
    "reshape": (after('type: "Reshape" reshape_param { shape { dim: 0 dim: 2 dim: 14 dim: 6 } }'), "C makes vectors"),
    "many places": (after('type: "ArgMax" argmax_param { top_k: 2 }'), "the greatest score of all alone"),
    "scores": (after('type: "ArgMax" argmax_param { out_max_val: true }'), "the greatest score of all alone"),
    "places of planes": (after('type: "ArgMax" argmax_param { axis: 1 }'), "not of a vector"),
    "place within": (
        after('type: "ArgMax"') + 'layer { name: "two" type: "InnerProduct" bottom: "last" top: "two" '
        "inner_product_param { num_output: 2 } }",
        "not at the end",
    ),
    "softmax within": (
        after('type: "Softmax"', "ip") + 'layer { name: "relu" type: "ReLU" bottom: "last" top: "relu" }',
        "not of a vector at the end of the net",
    ),
    "deconvolution": (
        after('type: "Deconvolution" convolution_param { num_output: 2 kernel_size: 2 }'), "no form in C"
    ),
    "sigmoid": (after('type: "Sigmoid"'), "no form in C"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_form_is_named(name, tmp_path):
    layers, message = REFUSED[name]
    with pytest.raises(ExportError, match=f"layer 'last' of type \\w+ has no form in C.*|{message}") as raised:
        c(build(caffe(CONVOLUTION, PRODUCT, layers)), None, tmp_path / "net.c", arithmetic="float")
    assert message in str(raised.value)
    assert list(tmp_path.iterdir()) == []
